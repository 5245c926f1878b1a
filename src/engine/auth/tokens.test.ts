import { deepEqual, equal, match, notEqual, throws } from "node:assert/strict";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { fc, seededBytes } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import { type JwtMethod, JwtTokens, jwtMethods } from "./jwt.ts";
import { SimpleTokens } from "./simple-tokens.ts";
import { jwtSettings, parseTokenChoice } from "./token-settings.ts";

const at = (revision: number) => ({ revision, index: 7 });

function simpleTokens(tokensMax = 1000) {
  const time = { nowMs: 1000 };
  return { time, tokens: new SimpleTokens({ ttlMs: 300, tokensMax }, () => time.nowMs, seededBytes) };
}

test("simple tokens: etcd's form, renewed by use, ended by time, by user, and all", () => {
  const { time, tokens } = simpleTokens();
  const first = tokens.issue("alice", at(1));
  match(first, /^[a-zA-Z]{16}\.7$/);
  notEqual(tokens.issue("alice", at(1)), first);
  for (let use = 0; use < 5; use++) {
    time.nowMs += 299;
    deepEqual(tokens.callerOf(first, 9), { name: "alice", revision: 9 });
  }
  time.nowMs += 300;
  equal(tokens.callerOf(first, 9), null);
  const again = tokens.issue("alice", at(1));
  const bobs = tokens.issue("bob", at(1));
  tokens.end("alice");
  deepEqual([tokens.callerOf(again, 1), tokens.callerOf(bobs, 1)?.name], [null, "bob"]);
  tokens.end(null);
  equal(tokens.callerOf(bobs, 1), null);
});

test("simple tokens are bounded: those past their time go first, then the oldest", () => {
  const { time, tokens } = simpleTokens(3);
  const [old, , , newest] = [1, 2, 3, 4].map((n) => tokens.issue(`user ${n}`, at(1)));
  deepEqual([tokens.size, tokens.callerOf(old!, 1), tokens.callerOf(newest!, 1)?.name], [3, null, "user 4"]);
  time.nowMs += 301;
  tokens.issue("late", at(1));
  equal(tokens.size, 1);
});

const pem = (type: string, options: object = {}) => {
  const encodings = {
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  };
  const { publicKey, privateKey } = generateKeyPairSync(type as "ec", { ...encodings, ...options } as never) as {
    publicKey: unknown;
    privateKey: unknown;
  };
  return { publicKey: Buffer.from(publicKey as string), privateKey: Buffer.from(privateKey as string) };
};
const rsa = pem("rsa", { modulusLength: 2048 });
const curves: Record<string, string> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
const keysOf = (method: JwtMethod) => {
  const { family } = jwtMethods[method];
  if (family === "hmac") return { publicKey: null, privateKey: Buffer.from("a secret") };
  if (family === "ec") return pem("ec", { namedCurve: curves[method] });
  return family === "ed25519" ? pem("ed25519") : rsa;
};

test("JWT: each method signs, verifies, and refuses what was changed or signed otherwise", () => {
  const time = { wallMs: 1_700_000_000_000 };
  for (const method of Object.keys(jwtMethods) as JwtMethod[]) {
    const tokens = new JwtTokens(jwtSettings({ method, ttlMs: 60_000 }, keysOf(method)), {
      wallMs: () => time.wallMs,
      clusterId: 7n,
    });
    const token = tokens.issue("alice", at(5));
    deepEqual(tokens.callerOf(token), { name: "alice", revision: 5 }, method);
    const [header, payload, signature] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload!, "base64url").toString());
    deepEqual([claims.username, claims.revision, claims.exp], ["alice", 5, 1_700_000_060]);
    const root = Buffer.from(JSON.stringify({ ...claims, username: "root" })).toString("base64url");
    const none = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT" })).toString("base64url");
    const broken = [
      `${header}.${root}.${signature}`,
      `${none}.${payload}.`,
      `${none}.${payload}.${signature}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${token}.x`,
      `${header}.${payload}.${signature!.slice(0, -6)}AAAAAA`,
      "",
      "a.b.c",
    ];
    for (const each of broken) equal(tokens.callerOf(each), null, `${method} ${each}`);
    const later = time.wallMs + 60_000;
    const expired = new JwtTokens(jwtSettings({ method, ttlMs: 60_000 }, keysOf(method)), {
      wallMs: () => later,
      clusterId: 7n,
    });
    equal(expired.callerOf(token), null);
  }
});

test("JWT: remembered tokens end in time; a public key is no HMAC secret, and gives no tokens", () => {
  const time = { wallMs: 0 };
  const tokens = new JwtTokens(jwtSettings({ method: "RS256", ttlMs: 10_000 }, rsa), {
    wallMs: () => time.wallMs,
    clusterId: 7n,
  });
  const token = tokens.issue("alice", at(1));
  equal(tokens.callerOf(token)?.name, "alice");
  time.wallMs = 9_999;
  equal(tokens.callerOf(token)?.name, "alice");
  time.wallMs = 10_000;
  equal(tokens.callerOf(token), null);
  time.wallMs = 0;
  // Signed with HS256 and the public key as its secret: the known confusion of methods.
  const head = Buffer.from(JSON.stringify({ alg: "HS256", typ: "JWT" })).toString("base64url");
  const body = token.split(".")[1];
  const forged = createHmac("sha256", rsa.publicKey).update(`${head}.${body}`).digest("base64url");
  equal(tokens.callerOf(`${head}.${body}.${forged}`), null);
  const readers = new JwtTokens(
    jwtSettings({ method: "RS256", ttlMs: 10_000 }, { publicKey: rsa.publicKey, privateKey: null }),
    { wallMs: () => time.wallMs, clusterId: 7n },
  );
  equal(readers.callerOf(token)?.name, "alice");
  throws(
    () => readers.issue("alice", at(1)),
    (error) => isDbError(error, "tokenNotSigned"),
  );
});

test("JWT: a token of one branch is none on another; one that names no branch is taken by each", () => {
  const settings = jwtSettings({ method: "HS256", ttlMs: 1000 }, keysOf("HS256"));
  const on = (clusterId: bigint) => new JwtTokens(settings, { wallMs: () => 0, clusterId });
  const [main, other] = [on(1n), on(2n)];
  const token = other.issue("root", at(1));
  deepEqual([main.callerOf(token), other.callerOf(token)?.name], [null, "root"]);
  const [header] = token.split(".");
  const payload = Buffer.from(JSON.stringify({ username: "root", revision: 1 })).toString("base64url");
  const signature = createHmac("sha256", "a secret").update(`${header}.${payload}`).digest("base64url");
  const foreign = `${header}.${payload}.${signature}`;
  deepEqual([main.callerOf(foreign)?.name, other.callerOf(foreign)?.name], ["root", "root"]);
});

test("JWT: a user's name that is not ASCII comes back as the same bytes", () => {
  const tokens = new JwtTokens(jwtSettings({ method: "HS256", ttlMs: 1000 }, keysOf("HS256")), {
    wallMs: () => 0,
    clusterId: 7n,
  });
  const name = Buffer.from("Jürgen 語").latin1Slice();
  equal(tokens.callerOf(tokens.issue(name, at(1)))?.name, name);
});

test("--auth-token: etcd's forms, and what is wrong with others", () => {
  const duration = (text: string) => (/^\d+m$/.test(text) ? Number.parseInt(text, 10) * 60_000 : Number.NaN);
  const parse = (text: string) => parseTokenChoice(text, duration);
  deepEqual(parse("simple"), { kind: "simple" });
  deepEqual(parse(""), { kind: "none" });
  deepEqual(parse("jwt,pub-key=a.pem,priv-key=b.pem,sign-method=ES256,ttl=10m"), {
    kind: "jwt",
    method: "ES256",
    files: { publicKey: "a.pem", privateKey: "b.pem" },
    ttlMs: 600_000,
  });
  for (const [text, expected] of [
    ["other", /simple or jwt/],
    ["jwt", /sign-method/],
    ["jwt,sign-method=none,priv-key=x", /sign-method/],
    ["jwt,sign-method=RS256", /pub-key or priv-key/],
    ["jwt,sign-method=RS256,priv-key=x,ttl=soon", /ttl/],
    ["jwt,sign-method=RS256,priv-key", /NAME=VALUE/],
    ["jwt,sign-method=RS256,priv-key=x,priv-key=y", /twice/],
    ["jwt,sign-method=RS256,priv-key=x,kid=1", /no option "kid"/],
  ] as const) {
    throws(() => parse(text), expected, text);
  }
  const other = pem("rsa", { modulusLength: 2048 });
  throws(() => jwtSettings({ method: "RS256", ttlMs: 1 }, { ...rsa, publicKey: other.publicKey }), /fit together/);
  throws(() => jwtSettings({ method: "ES256", ttlMs: 1 }, rsa), /does not go with/);
  throws(() => jwtSettings({ method: "ES384", ttlMs: 1 }, pem("ec", { namedCurve: "P-256" })), /prime256v1/);
});

test("tokens that are none, and changed ones, name nobody and are never an error", () => {
  const part = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[\w-]{0,40}$/),
    fc.json().map((text) => Buffer.from(text).toString("base64url")),
    fc
      .constantFrom("HS256", "none", "ES256", "EdDSA", "__proto__")
      .map((alg) => Buffer.from(JSON.stringify({ alg, typ: "JWT" })).toString("base64url")),
  );
  const { tokens: simple } = simpleTokens();
  for (const method of ["HS256", "ES256", "EdDSA", "PS256"] as const) {
    const settings = jwtSettings({ method, ttlMs: 1000 }, keysOf(method));
    const tokens = new JwtTokens(settings, { wallMs: () => 0, clusterId: 1n });
    const good = tokens.issue("alice", at(3));
    equal(tokens.callerOf(good)?.name, "alice");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
        equal(tokens.callerOf(parts.join(".")), null);
        equal(simple.callerOf(parts.join("."), 1), null);
      }),
    );
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.string({ minLength: 1, maxLength: 3 }), (at, text) => {
        const changed = good.slice(0, at) + text + good.slice(at + text.length);
        // Of its last character base64 passes over some bits: that is the same token.
        const isSame = Buffer.from(changed.split(".")[2] ?? "", "base64url").equals(
          Buffer.from(good.split(".")[2]!, "base64url"),
        );
        if (changed === good || (isSame && changed.startsWith(good.slice(0, good.lastIndexOf(".") + 1)))) return;
        equal(tokens.callerOf(changed), null);
      }),
    );
  }
});
