import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { Authority } from "../../../test/tls/certificates.ts";
import { makeRevocationList } from "./certificate.ts";
import { cipherList } from "./cipher-suites.ts";
import { pem, pemOrDer } from "./der.ts";
import { revokedSerials } from "./revocations.ts";

const authority = new Authority("an authority");

test("a certificate is read back by OpenSSL as it was asked for", () => {
  const made = authority.sign({
    commonName: "näme",
    hosts: ["a.example", "10.1.2.3", "fe80::1:2"],
    usages: ["client"],
  });
  const read = new X509Certificate(made.certificatePem);
  const issuer = new X509Certificate(authority.pem);
  ok(read.checkIssued(issuer) && read.verify(issuer.publicKey) && issuer.ca && !read.ca);
  equal(read.subject, "CN=näme");
  equal(read.serialNumber.toLowerCase(), made.serialHex);
  equal(read.checkHost("a.example", { subject: "never" }), "a.example");
  deepEqual(
    [read.checkIP("10.1.2.3"), read.checkIP("fe80::1:2"), read.checkIP("10.1.2.4")],
    ["10.1.2.3", "fe80::1:2", undefined],
  );
  deepEqual(read.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
});

test("revocation lists: PEM and DER, several in a file, empty ones", () => {
  const { issuer } = authority.made;
  const one = makeRevocationList(issuer, ["0102", "00ff01"], Date.now());
  deepEqual([...revokedSerials(Buffer.from(one))], ["102", "ff01"]);
  deepEqual([...revokedSerials(pemOrDer(Buffer.from(one), "X509 CRL")[0]!)], ["102", "ff01"]);
  deepEqual([...revokedSerials(Buffer.from(makeRevocationList(issuer, [], Date.now())))], []);
  const other = makeRevocationList(issuer, ["7f"], Date.now());
  deepEqual([...revokedSerials(Buffer.from(one + other))], ["102", "ff01", "7f"]);
});

test("a file that is no revocation list is never taken for an empty one", () => {
  for (const file of ["", "hello", authority.pem, pem("X509 CRL", Buffer.from([0x30, 3, 0x30, 1])), "-----BEGIN"]) {
    throws(() => revokedSerials(Buffer.from(file)), { name: "DerError" }, file);
  }
  // Cut anywhere, or with a byte changed, a list is refused or read: it never hangs or reads beyond its end.
  const list = pemOrDer(Buffer.from(makeRevocationList(authority.made.issuer, ["0102"], Date.now())), "X509 CRL")[0]!;
  for (let cut = 0; cut < list.length; cut++) {
    throws(() => revokedSerials(list.subarray(0, cut)), { name: "DerError" });
    const changed = Buffer.from(list);
    changed[cut]! ^= 0x5a;
    try {
      revokedSerials(changed);
    } catch (error) {
      equal((error as Error).name, "DerError");
    }
  }
});

test("cipher suites by IANA's names", () => {
  equal(
    cipherList(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]),
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-AES128-GCM-SHA256",
  );
  ok(!/(^|:)AES|SHA$|SHA256-CBC/.test(cipherList([]).replace(/^.*POLY1305_SHA256:/, "")));
  throws(() => cipherList(["TLS_NO_SUCH"]), /^Error: unexpected TLS cipher suite "TLS_NO_SUCH"$/);
});
