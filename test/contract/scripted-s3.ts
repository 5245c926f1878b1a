import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

/** What a scripted server does with one request. */
export type Answer =
  | { status: number; code?: string; headers?: Record<string, string>; body?: string | Buffer; afterMs?: number }
  /** Closes the connection, having read the request. */
  | "reset"
  /** Sends the head and half of the body, then closes. */
  | "halfway"
  /** Never answers. */
  | "silent";

export interface ScriptedS3 {
  endpoint: string;
  seen: SeenRequest[];
  close(): Promise<void>;
}

/**
 * An HTTP server on loopback that answers as `answer` says: for what a real S3 server cannot be made to do. With `tls`
 * an HTTPS one.
 */
export async function startScriptedS3(
  answer: (request: SeenRequest, number: number) => Answer | Promise<Answer>,
  tls?: { readonly key: string; readonly cert: string },
): Promise<ScriptedS3> {
  const seen: SeenRequest[] = [];
  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = incoming;
    const request = { method, path: url, headers, body: Buffer.concat(chunks) };
    seen.push(request);
    await respond(outgoing, await answer(request, seen.length - 1));
  };
  const server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { endpoint: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`, seen, close };
}

async function respond(outgoing: ServerResponse, answer: Answer): Promise<void> {
  if (answer === "silent") return;
  if (answer === "reset") {
    outgoing.socket?.destroy();
    return;
  }
  if (answer === "halfway") {
    outgoing.writeHead(200, { "content-length": "100", etag: '"x"' });
    outgoing.write(Buffer.alloc(50), () => outgoing.socket?.destroy());
    return;
  }
  const { status, code, headers = {}, body, afterMs = 0 } = answer;
  if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
  const error = code ? `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as scripted</Message></Error>` : "";
  outgoing.writeHead(status, headers);
  outgoing.end(status === 304 || status === 204 ? undefined : (body ?? error));
}

/** A store that takes every write, whatever its conditions say: what the start-up test exists to find. */
export function heedlessS3(): (request: SeenRequest) => Answer {
  const objects = new Map<string, { body: Buffer; etag: string }>();
  let versions = 0;
  return ({ method, path, body }) => {
    const url = new URL(path, "http://store");
    if (method === "PUT") {
      const etag = `"${++versions}"`;
      objects.set(url.pathname, { body, etag });
      return { status: 200, headers: { etag } };
    }
    if (method === "DELETE") {
      objects.delete(url.pathname);
      return { status: 204 };
    }
    if (url.searchParams.has("list-type")) return { status: 200, body: "<ListBucketResult></ListBucketResult>" };
    const found = objects.get(url.pathname);
    return found
      ? { status: 200, headers: { etag: found.etag }, body: found.body }
      : { status: 404, code: "NoSuchKey" };
  };
}
