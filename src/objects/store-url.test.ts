import { deepEqual, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { DbError } from "../base/errors.ts";
import { parseStoreUrl } from "./store-url.ts";

const plain = {
  kind: "s3",
  bucket: "bucket",
  prefix: "",
  endpoint: null,
  region: null,
  pathStyle: false,
  profile: null,
  caFile: null,
  encryption: null,
  storageClass: null,
};

test("each form of a store's URL", () => {
  deepEqual(parseStoreUrl("memory:"), { kind: "memory" });
  deepEqual(parseStoreUrl("file:///var/lib/t4/"), { kind: "file", directory: "/var/lib/t4" });
  deepEqual(parseStoreUrl("file:///with%20space"), { kind: "file", directory: "/with space" });
  deepEqual(parseStoreUrl("s3://bucket"), plain);
  deepEqual(parseStoreUrl("s3://bucket/"), plain);
  deepEqual(parseStoreUrl("s3://bucket/a/b/"), { ...plain, prefix: "a/b" });
  deepEqual(parseStoreUrl("s3://dotted.bucket"), { ...plain, bucket: "dotted.bucket", pathStyle: true });
  const all =
    "s3://bucket/p?endpoint=http://127.0.0.1:9000&region=eu-west-1&path-style=false&profile=dev&ca=/etc/ca.pem" +
    "&sse=aws:kms:arn:aws:kms:x:1:key/2&storage-class=STANDARD_IA";
  deepEqual(parseStoreUrl(all), {
    kind: "s3",
    bucket: "bucket",
    prefix: "p",
    endpoint: "http://127.0.0.1:9000",
    region: "eu-west-1",
    pathStyle: false,
    profile: "dev",
    caFile: "/etc/ca.pem",
    encryption: { algorithm: "aws:kms", keyId: "arn:aws:kms:x:1:key/2" },
    storageClass: "STANDARD_IA",
  });
  const own = { ...plain, endpoint: "https://store.example", pathStyle: true };
  deepEqual(parseStoreUrl("s3://bucket?endpoint=https://store.example/"), own);
  deepEqual(parseStoreUrl("s3://bucket?sse=AES256"), { ...plain, encryption: { algorithm: "AES256" } });
  deepEqual(parseStoreUrl("s3://bucket?sse=aws:kms"), { ...plain, encryption: { algorithm: "aws:kms", keyId: null } });
});

test("a wrong URL is refused in one line that names what is wrong", () => {
  const cases: [string, RegExp][] = [
    ["", /no URL/],
    ["/var/lib/t4", /no URL/],
    ["gs://bucket", /unknown kind gs/],
    ["memory:x", /nothing behind/],
    ["file://relative", /absolute path/],
    ["file:relative", /absolute path/],
    ["file:///", /no directory/],
    ["file:///a/../b", /"\.\."/],
    ["file:///a%00", /no directory/],
    ["file:///a%zz", /%-escape/],
    ["file:///a?b=c", /no options/],
    ["s3:", /no bucket/],
    ["s3://", /no bucket/],
    ["s3:///prefix", /no bucket/],
    ["s3://b", /cannot name a bucket/],
    ["s3://buc ket", /cannot name a bucket/],
    ["s3://bucket/a//b", /empty/],
    ["s3://bucket/../b", /"\.\."/],
    [`s3://bucket/${"x".repeat(513)}`, /512/],
    ["s3://bucket?endpoint=ftp://x", /not an http/],
    ["s3://bucket?endpoint=localhost:9000", /not an http/],
    ["s3://bucket?endpoint=http://u:p@x", /credentials/],
    ["s3://bucket?endpoint=http://x/path", /more than a host/],
    ["s3://bucket?path-style=yes", /path-style/],
    ["s3://bucket?region=eu west", /region/],
    ["s3://bucket?region=", /region is empty/],
    ["s3://bucket?region=a&region=b", /given twice/],
    ["s3://bucket?sse=aws:kms:", /sse/],
    ["s3://bucket?storage-class=DEEP_ARCHIVE", /storage-class DEEP_ARCHIVE/],
    ["s3://bucket?colour=red", /unknown option colour/],
    ["s3://bucket#x", /no URL/],
  ];
  for (const [url, message] of cases) {
    throws(
      () => parseStoreUrl(url),
      (error) =>
        error instanceof DbError &&
        error.kind === "invalidArgument" &&
        message.test(error.message) &&
        !error.message.includes("\n"),
      url,
    );
  }
});

test("any text is parsed or refused", () => {
  const parts = fc.constantFrom(
    "s3://",
    "bucket",
    "/",
    "?",
    "&",
    "=",
    "endpoint",
    "http://x",
    "%",
    "file://",
    "..",
    "region",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(parts, { maxLength: 12 }).map((list) => list.join("")),
      ),
      (text) => {
        try {
          parseStoreUrl(text);
        } catch (error) {
          if (!(error instanceof DbError) || error.kind !== "invalidArgument") throw error;
        }
      },
    ),
  );
});
