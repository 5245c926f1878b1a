import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "node:test";
import type { HttpResponse } from "../../transport/transport.ts";
import { accessControl } from "./access-control.ts";

const ok: HttpResponse = { status: 200, headers: { "content-type": "text/plain" }, body: "answer" };

async function ask(
  settings: { origins?: string[]; hosts?: string[] },
  {
    headers = {},
    method = "GET",
    secure = false,
  }: { headers?: Record<string, string>; method?: string; secure?: boolean },
): Promise<HttpResponse> {
  const handle = accessControl({ origins: settings.origins ?? [], hosts: settings.hosts ?? [] }, async () => ok);
  const request = { method, target: "/", headers: new Map(Object.entries(headers)), body: Buffer.alloc(0), secure };
  return handle({ ...request, remoteAddress: "" });
}

test("B1.14 a plain request by a name that is not ours gets 421; TLS and names on the list do not", async () => {
  const hosts = ["a.example", "::1"];
  for (const host of ["a.example", "a.example:2379", "[::1]:2379"]) {
    equal((await ask({ hosts }, { headers: { host } })).status, 200, host);
  }
  for (const host of ["evil.example:2379", "", "a.example.evil", "xa.example"]) {
    const answer = await ask({ hosts }, { headers: { host } });
    equal(answer.status, 421, host);
    match(String(answer.body), /--host-whitelist/);
    equal((await ask({ hosts }, { headers: { host }, secure: true })).status, 200, host);
  }
  for (const any of [[], ["*"]]) equal((await ask({ hosts: any }, { headers: { host: "evil" } })).status, 200);
});

test("B1.14 origins: any by default; of a list, only the one that asks, and caches are told", async () => {
  const allowed = async (origins: string[], origin?: string) => {
    const { headers } = await ask({ origins }, { headers: origin === undefined ? {} : { origin } });
    return [headers["access-control-allow-origin"], headers["vary"]];
  };
  deepEqual(await allowed([], "http://x"), ["*", undefined]);
  deepEqual(await allowed(["*"]), ["*", undefined]);
  deepEqual(await allowed(["http://a", "http://b"], "http://b"), ["http://b", "Origin"]);
  deepEqual(await allowed(["http://a"], "http://b"), [undefined, undefined]);
  deepEqual(await allowed(["http://a"]), [undefined, undefined]);
});

test("OPTIONS is answered for any path, without asking its handler", async () => {
  const answer = await ask({}, { method: "OPTIONS" });
  deepEqual([answer.status, answer.body], [200, ""]);
  equal(answer.headers["access-control-allow-methods"], "POST, GET, OPTIONS, PUT, DELETE");
});
