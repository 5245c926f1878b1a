import type { EtcdSettings } from "./settings.ts";
import type { Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";
import { decodeMemberList } from "./wire/other-requests.ts";

/** etcdserverpb.Cluster: this node is the one member. The header's revision is 0, as in all of this service. */
export const clusterService = (settings: EtcdSettings): Record<string, Method> => ({
  "/etcdserverpb.Cluster/MemberList": (database, message) => {
    const { linearizable } = decodeMemberList(message);
    const reason = linearizable ? database.unprovenBecause() : null;
    if (reason !== null) throw reason;
    const member = new Message()
      .big(1, database.identity.memberId)
      .text(2, database.identity.name)
      .texts(3, settings.peerUrls())
      .texts(4, settings.clientUrls());
    return new Message().header(headerOf(database), 0).alwaysMessage(2, member);
  },
});
