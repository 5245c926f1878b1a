import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { DbError, type ErrorKind } from "../base/errors.ts";
import { GrpcError } from "../transport/transport.ts";
import { answers, codes, streamError, textOf, unaryError } from "./errors.ts";
import { WireError } from "./wire/reader.ts";

test("every code is one of gRPC's, and every text is etcd's, ours, or the error's own", () => {
  for (const [kind, { code, text }] of Object.entries(answers)) {
    ok(code >= 1 && code <= 16, kind);
    ok(text === "" || /^(etcdserver|t4|auth|bcrypt): /.test(text), kind);
  }
});

test("no two kinds have one text of etcd's, so that clients can tell them apart", () => {
  // A corrupt object's text goes on with what it is; the alarm's does not.
  const { corrupt: _object, ...others } = answers;
  const texts = Object.values(others).flatMap(({ text }) => (text === "" ? [] : [text]));
  equal(new Set(texts).size, texts.length);
});

test("details are told where the text is not etcd's whole text", () => {
  equal(textOf(new DbError("compacted", "asked for 3, compacted at 5")), answers.compacted.text);
  equal(textOf(new DbError("notFound", "branch dev does not exist")), "branch dev does not exist");
  equal(textOf(new DbError("corrupt", "sst/x: checksum")), "etcdserver: corrupt cluster: sst/x: checksum");
  equal(textOf(new DbError("corrupt")), "etcdserver: corrupt cluster");
});

test("unknown outcomes never have a code for which clients resend a write by themselves", () => {
  const unknown: ErrorKind[] = ["timeout", "leadershipLost", "connectionLost", "noLeader", "stopped"];
  for (const kind of unknown) {
    equal(answers[kind].code, codes.unavailable, "as etcd");
    // These two texts make etcd's own client resend a write.
    ok(!/there is no (address|connection) available/.test(answers[kind].text));
  }
});

test("what cannot be decoded is told with gRPC's prefix, and what is a bug is left as it is", () => {
  const status = (error: unknown) => [(error as GrpcError).code, (error as GrpcError).message];
  deepEqual(status(unaryError(new WireError("unexpected EOF"))), [
    codes.internal,
    "grpc: error unmarshalling request: unexpected EOF",
  ]);
  deepEqual(status(streamError(new WireError("unexpected EOF"))), [
    codes.internal,
    "grpc: failed to unmarshal the received message: unexpected EOF",
  ]);
  const bug = new TypeError("x is not a function");
  equal(unaryError(bug), bug);
  const given = new GrpcError(codes.notFound, "unknown service");
  equal(unaryError(given), given);
});
