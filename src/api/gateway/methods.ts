import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from "../../gen/etcdserverpb/rpc_pb.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { Election } from "../../gen/v3electionpb/v3election_pb.ts";
import { Lock } from "../../gen/v3lockpb/v3lock_pb.ts";
import { pathsOf } from "./paths.ts";

/** A method as the gateway offers it. */
export interface GatewayMethod {
  /** "/etcdserverpb.KV/Range": what it is called by in gRPC, and in the routes. */
  readonly grpcPath: string;
  readonly service: string;
  readonly name: string;
  readonly httpPaths: readonly string[];
  readonly input: DescMessage;
  readonly output: DescMessage;
  readonly kind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming";
}

const services: readonly DescService[] = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election, Repository];

/** Every method of the services that has a path, in the order of the descriptors. */
export const gatewayMethods: readonly GatewayMethod[] = services.flatMap((service) =>
  service.methods
    .map((method) => ({
      grpcPath: `/${service.typeName}/${method.name}`,
      service: service.typeName,
      name: method.name,
      httpPaths: pathsOf(service.typeName, method.name),
      input: method.input,
      output: method.output,
      kind: method.methodKind,
    }))
    .filter(({ httpPaths }) => httpPaths.length > 0),
);

/** Those of the services that have none: for gRPC alone. */
export const withoutPath: readonly string[] = services.flatMap((service) =>
  service.methods
    .filter((method) => pathsOf(service.typeName, method.name).length === 0)
    .map((method) => `/${service.typeName}/${method.name}`),
);
