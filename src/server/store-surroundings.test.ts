import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { parseStoreUrl } from "../objects/store-url.ts";
import { surroundingsOfStore } from "./store-surroundings.ts";

const NAMES = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "CREDENTIAL_EXPIRATION"];

async function credentialsWith(url: string, variables: Record<string, string>): Promise<unknown> {
  const before = { ...process.env };
  for (const name of NAMES) delete process.env[`AWS_${name}`];
  for (const [name, value] of Object.entries(variables)) process.env[`AWS_${name}`] = value;
  try {
    return await surroundingsOfStore(parseStoreUrl(url)).credentials?.();
  } finally {
    for (const name of NAMES) delete process.env[`AWS_${name}`];
    Object.assign(process.env, before);
  }
}

const keys = { ACCESS_KEY_ID: "id", SECRET_ACCESS_KEY: "secret" };

test("keys in the environment are taken as they are, where the official chain would take them", async () => {
  deepEqual(await credentialsWith("s3://bucket", keys), { accessKeyId: "id", secretAccessKey: "secret" });
  deepEqual(await credentialsWith("s3://bucket", { ...keys, SESSION_TOKEN: "t" }), {
    accessKeyId: "id",
    secretAccessKey: "secret",
    sessionToken: "t",
  });
});

test("everything else is the chain's: half a pair, a profile, keys that expire", async () => {
  equal(await credentialsWith("s3://bucket", {}), undefined);
  equal(await credentialsWith("s3://bucket", { ACCESS_KEY_ID: "id" }), undefined);
  equal(await credentialsWith("s3://bucket", { ...keys, PROFILE: "other" }), undefined);
  equal(await credentialsWith("s3://bucket", { ...keys, CREDENTIAL_EXPIRATION: "2030-01-01T00:00:00Z" }), undefined);
  equal(await credentialsWith("s3://bucket?profile=other", keys), undefined);
  equal(await credentialsWith("file:///somewhere", keys), undefined);
});
