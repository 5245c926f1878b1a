import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { gatewayMethods } from "../../src/api/gateway/methods.ts";
import { type Endpoint, type RawStream, RpcFailure } from "./endpoint.ts";
import type { ServerProcess } from "./etcd-process.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";

const methods = new Map(gatewayMethods.map((method) => [method.grpcPath, method]));
/** JSON has no NaN and the like in these messages; unknown names would be a finding. */
const REQUEST_TIMEOUT_MS = 20_000;

/**
 * Unary calls as JSON over HTTP, by the gateway; streams by gRPC, as a request over HTTP is whole before it is
 * answered. What a caller sends and gets are the messages' bytes, as of the other endpoints.
 */
export class GatewayEndpoint implements Endpoint {
  readonly #server: ServerProcess;
  readonly #streams: SocketEndpoint;

  constructor(server: ServerProcess) {
    this.#server = server;
    this.#streams = new SocketEndpoint(server.address);
  }

  async unary(path: string, message: Uint8Array, metadata: Record<string, string> = {}): Promise<Uint8Array> {
    const method = methods.get(path);
    if (method === undefined) throw new Error(`the gateway has no path for ${path}`);
    const { token, ...rest } = metadata;
    const response = await fetch(`http://${this.#server.address}${method.httpPaths[0]}`, {
      method: "POST",
      headers: {
        ...(token === undefined ? {} : { authorization: token }),
        ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [`grpc-metadata-${name}`, value])),
      },
      body: JSON.stringify(jsonOf(method.input, message)),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const answer = (await response.json()) as JsonValue;
    if (!response.ok) throw failureOf(answer);
    return toBinary(method.output, fromJson(method.output, answer));
  }

  stream(path: string, metadata?: Record<string, string>): RawStream {
    return this.#streams.stream(path, metadata);
  }

  async close(): Promise<void> {
    await this.#streams.close();
    await this.#server.stop();
  }
}

const jsonOf = (schema: DescMessage, message: Uint8Array): JsonValue =>
  toJson(schema, fromBinary(schema, message), { useProtoFieldName: true });

function failureOf(answer: JsonValue): RpcFailure {
  const { code, message } = answer as { code: number; message: string };
  return new RpcFailure(code, message);
}
