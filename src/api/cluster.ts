import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Database } from "../engine/engine.ts";
import type { Member, MemberAddresses, MemberChange } from "../engine/maintenance/maintenance.ts";
import type { Encodable } from "../transport/transport.ts";
import type { EtcdSettings } from "./settings.ts";
import { encoded, type Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeMemberAdd, decodeMemberId, decodeMemberUpdate } from "./wire/maintenance-requests.ts";
import { Message } from "./wire/message.ts";
import { decodeMemberList } from "./wire/other-requests.ts";

/** etcdserverpb.Cluster (M8). The header's revision is 0, as in all of this service. */
export function clusterService(settings: Pick<EtcdSettings, "clientUrls" | "peerUrls">): Record<string, Method> {
  const self = (): MemberAddresses => ({ peerUrls: settings.peerUrls(), clientUrls: settings.clientUrls() });
  const change = (database: Database, wanted: MemberChange): MaybePromise<Encodable> => {
    database.require("root");
    return encoded(database.maintenance.changeMember(self(), wanted), ({ member, members }) => {
      const response = new Message().header(headerOf(database), 0);
      // The other answers have the list where this one has the new member.
      if (wanted.kind === "add" && member !== null) response.alwaysMessage(2, memberMessage(member));
      return withMembers(response, wanted.kind === "add" ? 3 : 2, members);
    });
  };
  return {
    "/etcdserverpb.Cluster/MemberList": (database, message) => {
      const options = decodeMemberList(message);
      database.require("user");
      return encoded(database.maintenance.members(self(), options), (members) =>
        withMembers(new Message().header(headerOf(database), 0), 2, members),
      );
    },
    "/etcdserverpb.Cluster/MemberAdd": (database, message) =>
      change(database, { kind: "add", ...decodeMemberAdd(message) }),
    "/etcdserverpb.Cluster/MemberRemove": (database, message) =>
      change(database, { kind: "remove", ...decodeMemberId(message, "MemberRemoveRequest") }),
    "/etcdserverpb.Cluster/MemberUpdate": (database, message) =>
      change(database, { kind: "update", ...decodeMemberUpdate(message) }),
    "/etcdserverpb.Cluster/MemberPromote": (database, message) =>
      change(database, { kind: "promote", ...decodeMemberId(message, "MemberPromoteRequest") }),
  };
}

function withMembers(response: Message, field: number, members: readonly Member[]): Message {
  for (const member of members) response.alwaysMessage(field, memberMessage(member));
  return response;
}

const memberMessage = ({ id, name, peerUrls, clientUrls, isLearner }: Member): Message =>
  new Message().big(1, id).text(2, name).texts(3, peerUrls).texts(4, clientUrls).bool(5, isLearner);
