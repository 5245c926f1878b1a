import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { type Endpoint, Inbox, type RawStream, RpcFailure } from "./endpoint.ts";
import type { ServerProcess } from "./etcd-process.ts";

const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const UNARY_DEADLINE_MS = 20_000;

/** Calls over a socket, by a gRPC library that is not ours. */
export class SocketEndpoint implements Endpoint {
  readonly #client: Client;

  /** `address` is host:port. */
  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
      // Each endpoint has a connection of its own.
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  unary(path: string, message: Uint8Array, metadata?: Record<string, string>): Promise<Uint8Array> {
    const deadline = new Date(Date.now() + UNARY_DEADLINE_MS);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, asIs, asIs, message, metadataOf(metadata), { deadline }, (error, answer) => {
        if (error !== null) reject(new RpcFailure(error.code, error.details));
        else resolve(answer!);
      });
    });
  }

  stream(path: string, metadata?: Record<string, string>): RawStream {
    const call = this.#client.makeBidiStreamRequest(path, asIs, asIs, metadataOf(metadata));
    const inbox = new Inbox();
    call.on("data", (message: Buffer) => inbox.push(message));
    // The status says the same and comes in every case.
    call.on("error", () => {});
    call.on("status", (status) => inbox.end(status.code === 0 ? null : new RpcFailure(status.code, status.details)));
    return {
      send: (message) => void call.write(message),
      halfClose: () => void call.end(),
      cancel: () => call.cancel(),
      next: (timeoutMs) => inbox.next(timeoutMs),
    };
  }

  async close(): Promise<void> {
    this.#client.close();
  }
}

function metadataOf(values: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, value);
  return metadata;
}

/** An endpoint to a server that ends with it. */
export function overSocket(server: ServerProcess): Endpoint {
  const endpoint = new SocketEndpoint(server.address);
  return {
    unary: (path, message, metadata) => endpoint.unary(path, message, metadata),
    stream: (path, metadata) => endpoint.stream(path, metadata),
    async close() {
      await endpoint.close();
      await server.stop();
    },
  };
}
