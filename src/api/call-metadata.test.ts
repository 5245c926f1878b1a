import { equal, notEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Fields, grpcFields, H2Peer, message, text } from "../../test/transport/h2-peer.ts";
import { sampleServer } from "../../test/transport/sample-server.ts";
import { metadataOf } from "./call-metadata.ts";

test("what calls say of themselves is read once for equal header blocks, and never taken for another's", async () => {
  const { runtime, transport, sample } = sampleServer();
  const peers = [new H2Peer(transport, runtime), new H2Peer(transport, runtime)];
  const sent: string[] = [];
  const call = (n: number, streamId: number, token: string, more: Fields = []): void => {
    peers[n]!.call(streamId, "/test.Sample/Echo", token, [["authorization", token], ...more]);
    sent.push(token.replace("Bearer ", ""));
  };
  call(0, 1, "first.1");
  call(0, 3, "first.1");
  call(0, 5, "other.2");
  call(0, 7, "Bearer first.1", [["hasleader", "true"]]);
  call(0, 9, "first.1");
  call(1, 1, "first.1");
  // In one place of the peer's table, first one token, then another: the blocks have equal bytes, and mean others.
  const table = async (streamId: number, token: string): Promise<void> => {
    const entering = Buffer.concat([Buffer.from([0x40]), text("token"), text(token)]);
    const fields = grpcFields("/test.Sample/Echo").map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), text(name), text(value)]),
    );
    const send = (id: number, last: Buffer): void => {
      peers[1]!.headerBlock(id, Buffer.concat([...fields, last]));
      peers[1]!.data(id, message("x"));
      sent.push(token);
    };
    send(streamId, entering);
    send(streamId + 2, Buffer.from([0x80 | 62]));
    send(streamId + 4, Buffer.from([0x80 | 62]));
    await peers[1]!.got();
  };
  await table(3, "in-table.1");
  await table(9, "in-table.2");
  await peers[0]!.got();
  const metadata = sample.calls.map((one) => metadataOf(one.call));
  equal(metadata.length, sent.length);
  for (const [n, token] of sent.entries()) equal(metadata[n]!.token(), token);
  equal(metadata[0], metadata[1]);
  equal(metadata[0], metadata[4]);
  notEqual(metadata[0], metadata[5], "another connection is another peer");
  ok(metadata[3]!.requiresLeader && !metadata[0]!.requiresLeader);
  equal(metadata[7], metadata[8]);
});

test("a token, a version, a certificate's name", () => {
  const of = (fields: Record<string, string>, commonName?: string) =>
    metadataOf({
      path: "",
      authority: "",
      remoteAddress: "",
      peer: commonName === undefined ? null : { commonName },
      metadata: (name) => fields[name],
      timeLeftMs: () => undefined,
      onCancel() {},
    });
  equal(of({}).token(), undefined);
  equal(of({ authorization: "a", token: "Bearer b" }).token(), "b");
  equal(of({}).commonName(), null);
  equal(of({}, "é").commonName(), "\u00c3\u00a9");
  equal(of({}).version, null);
  ok(of({ "client-api-version": "3.6" }).isVersionText);
  ok(of({ "client-api-version": "\u00c3\u00a9" }).isVersionText);
  ok(!of({ "client-api-version": "\u00ff" }).isVersionText);
});
