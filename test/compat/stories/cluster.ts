import { deepEqual, equal, ok } from "node:assert/strict";
import { Cluster, Maintenance, type Member } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { fails, type Story } from "../story.ts";

const { method } = Cluster;
const BAD_URLS = [3, "etcdserver: given member URLs are invalid"] as const;
const NOT_FOUND = [5, "etcdserver: member not found"] as const;

const shapes = (members: readonly Member[]): string[] =>
  members.map(({ name, isLearner, peerURLs }) => `${name === "" ? peerURLs.join(",") : "self"} ${isLearner}`).sort();

export const clusterStories: Story[] = [
  {
    name: "M8 E17 E22 E23 a learner is announced, listed as unstarted, updated, removed",
    async body(client) {
      await client.transcript.silently(async () => {
        const urls = ["http://b:2", "http://a:1"];
        const added = await client.call(method.memberAdd, { peerURLs: urls, isLearner: true });
        equal(added.header!.revision, 0n);
        const member = added.member!;
        deepEqual([member.name, member.peerURLs, member.clientURLs, member.isLearner], ["", urls.toSorted(), [], true]);
        deepEqual(shapes(added.members), ["http://a:1,http://b:2 true", "self false"]);
        deepEqual(
          shapes((await client.call(method.memberList, { linearizable: true })).members),
          shapes(added.members),
        );
        const learnerNotReady = "etcdserver: can only promote a learner member which is in sync with leader";
        await fails(client.call(method.memberPromote, { ID: member.ID }), 9, learnerNotReady);
        const bad = "etcdserver: bad leader transferee";
        await fails(client.call(Maintenance.method.moveLeader, { targetID: member.ID }), 9, bad);
        const again = { peerURLs: ["http://a:1"], isLearner: true };
        const other = { peerURLs: ["http://c:3"], isLearner: true };
        // Within a second an etcd gives the same URLs the same id, and says that instead.
        const exists = client.call(method.memberAdd, again).then(
          () => "",
          (error: Error) => error.message,
        );
        ok(/Peer URLs already exists|member ID already exist/.test(await exists));
        const learners = "etcdserver: too many learner members in cluster";
        await fails(client.call(method.memberAdd, other), 9, learners);
        const updated = await client.call(method.memberUpdate, { ID: member.ID, peerURLs: ["http://d:4"] });
        deepEqual(shapes(updated.members), ["http://d:4 true", "self false"]);
        const removed = await client.call(method.memberRemove, { ID: member.ID });
        deepEqual(shapes(removed.members), ["self false"]);
        await fails(client.call(method.memberRemove, { ID: member.ID }), ...NOT_FOUND);
      });
    },
  },
  {
    name: "M8 members that do not exist, and addresses that are none",
    async body(client) {
      const bad = [
        ...[[], [""], ["127.0.0.1:1"], ["http://127.0.0.1"]],
        ...[["http://127.0.0.1:1/path"], ["ftp://127.0.0.1:1"], ["http://a:1", "x"]],
      ];
      for (const peerURLs of bad)
        await fails(client.call(method.memberAdd, { peerURLs, isLearner: true }), ...BAD_URLS);
      await fails(client.call(method.memberUpdate, { ID: 77n, peerURLs: ["http://a:1"] }), ...NOT_FOUND);
      await fails(client.call(method.memberRemove, { ID: 77n }), ...NOT_FOUND);
      await fails(client.call(method.memberPromote, { ID: 77n }), ...NOT_FOUND);
    },
  },
  {
    name: "M8 E18 E21 Q9 the only member can neither be removed nor promoted",
    async body(client) {
      await client.transcript.silently(async () => {
        const { members } = await client.call(method.memberList, {});
        const { ID } = members[0]!;
        const notStarted = "etcdserver: re-configuration failed due to not enough started members";
        await fails(client.call(method.memberRemove, { ID }), 2, notStarted);
        await fails(client.call(method.memberPromote, { ID }), 9, "etcdserver: can only promote a learner member");
        const updated = await client.call(method.memberUpdate, { ID, peerURLs: ["http://127.0.0.1:44"] });
        deepEqual(updated.members[0]!.peerURLs, ["http://127.0.0.1:44"]);
      });
    },
  },
];
