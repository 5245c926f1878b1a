import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { listQuery, parseList } from "./s3-list.ts";

const request = { root: "root/", prefix: "name/", startAfter: "name/a" as ObjectKey, limit: 3 };
const entry = (key: string, rest = "<LastModified>2026-01-02T03:04:05.678Z</LastModified><Size>12</Size>") =>
  `<Contents><Key>${key}</Key>${rest}<ETag>&quot;x&quot;</ETag></Contents>`;
const page = (entries: string, rest = "") => Buffer.from(`<ListBucketResult>${rest}${entries}</ListBucketResult>`);
const modifiedMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

test("a page asks for what lies behind a key below the root", () => {
  deepEqual(listQuery(request), {
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": "3",
    prefix: "root/name/",
    "start-after": "root/name/a",
  });
});

test("a page gives keys below the root, decoded where they are encoded", async () => {
  const truncated = "<IsTruncated>true</IsTruncated>";
  deepEqual(await parseList(page(entry("root/name/b") + entry("root/name/c"), truncated), request), {
    objects: [
      { key: "name/b", bytes: 12, modifiedMs },
      { key: "name/c", bytes: 12, modifiedMs },
    ],
    more: true,
  });
  const encoded = "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>";
  deepEqual(await parseList(page(entry("root/name/%C3%A9+%2B"), encoded), request), {
    objects: [{ key: "name/é +", bytes: 12, modifiedMs }],
    more: false,
  });
  deepEqual(await parseList(page(""), request), { objects: [], more: false });
});

test("a page that is not what was asked for is refused, naming what is wrong", async () => {
  const cases: [Buffer, RegExp][] = [
    [Buffer.from("not XML <<<"), /is no/],
    [Buffer.from("<Other/>"), /no ListBucketResult/],
    [page(entry("root/name/c") + entry("root/name/b")), /does not list in order/],
    [page(entry("root/name/b") + entry("root/name/b")), /does not list in order/],
    [page(entry("root/name/a")), /does not list in order/],
    [page(entry("root/other")), /not asked for/],
    [page(entry("name/b")), /not asked for/],
    [page(entry("root/name/b", "<Size>12</Size>")), /without key, size or time/],
    [page(entry("root/name/b", "<LastModified>2026-01-02T03:04:05Z</LastModified><Size>-1</Size>")), /without key/],
    [page(entry("root/name/b", "<LastModified>2026-01-02T03:04:05Z</LastModified><Size>1e99</Size>")), /without key/],
    [page(entry("root/name/%"), "<EncodingType>url</EncodingType>".concat("")), /without key|not asked for/],
    [page(["b", "c", "d", "e"].map((name) => entry(`root/name/${name}`)).join("")), /more objects than/],
  ];
  for (const [body, message] of cases) await rejects(parseList(body, request), { kind: "storeRefused", message });
});

test("any bytes as a page give a list or a refusal", async () => {
  const tags = fc.constantFrom(
    "<Contents>",
    "</Contents>",
    "<Key>",
    "</Key>",
    "root/name/",
    "<!DOCTYPE x [",
    "&a;",
    "]]>",
    "<",
  );
  const text = fc.array(fc.oneof(tags, fc.string()), { maxLength: 20 }).map((parts) => parts.join(""));
  await fc.assert(
    fc.asyncProperty(text, async (inside) => {
      try {
        await parseList(page(inside), request);
      } catch (error) {
        if (!isDbError(error, "storeRefused")) throw error;
      }
    }),
  );
});
