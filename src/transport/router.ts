import { GrpcCode } from "./grpc-status.ts";
import type { UnroutedHead } from "./request-head.ts";
import type { Routes, StreamHandler, UnaryHandler } from "./transport.ts";

/** Where a request goes. A refusal is answered with the HTTP status, and for gRPC with trailers beside it. */
export type Route =
  | { readonly kind: "unary"; readonly handler: UnaryHandler }
  | { readonly kind: "stream"; readonly handler: StreamHandler }
  | { readonly kind: "http" }
  | { readonly kind: "refuse"; readonly httpStatus: number; readonly code: number; readonly message: string };

const HTTP: Route = { kind: "http" };

/** Finds the handler of a request. The texts of refusals are those of grpc-go, which clients and people know. */
export class Router {
  readonly routes: Routes;
  private readonly targets = new Map<string, Route>();
  private readonly services = new Set<string>();

  constructor(routes: Routes) {
    this.routes = routes;
    for (const [path, handler] of routes.unary) this.add(path, { kind: "unary", handler });
    for (const [path, handler] of routes.streams) this.add(path, { kind: "stream", handler });
  }

  route(head: UnroutedHead): Route {
    if (!isGrpc(head.contentType)) return HTTP;
    if (head.timeoutMalformed) return refuse(GrpcCode.internal, "malformed grpc-timeout", 400);
    if (head.method !== "POST") {
      const text = `Received a HEADERS frame with :method "${head.method}" which should be POST`;
      return refuse(GrpcCode.internal, text, 405);
    }
    const { grpcEncoding } = head;
    if (grpcEncoding !== "" && grpcEncoding !== "identity" && grpcEncoding !== "gzip") {
      return refuse(GrpcCode.unimplemented, `grpc: Decompressor is not installed for grpc-encoding "${grpcEncoding}"`);
    }
    return this.targets.get(head.path) ?? this.unknown(head.path);
  }

  private add(path: string, route: Route): void {
    this.targets.set(path, route);
    this.services.add(path.slice(1, path.lastIndexOf("/")));
  }

  private unknown(path: string): Route {
    const slash = path.lastIndexOf("/");
    if (slash <= 0 || !path.startsWith("/")) {
      return refuse(GrpcCode.unimplemented, `malformed method name: "${path}"`);
    }
    const service = path.slice(1, slash);
    const method = path.slice(slash + 1);
    return refuse(
      GrpcCode.unimplemented,
      this.services.has(service) ? `unknown method ${method} for service ${service}` : `unknown service ${service}`,
    );
  }
}

const refuse = (code: number, message: string, httpStatus = 200): Route => ({
  kind: "refuse",
  httpStatus,
  code,
  message,
});

/** "application/grpc", alone or with a subtype or parameters; application/grpc-web is another protocol. */
function isGrpc(contentType: string): boolean {
  if (!contentType.startsWith("application/grpc")) return false;
  if (contentType.length === 16) return true;
  const next = contentType.charCodeAt(16);
  return next === 0x2b || next === 0x3b;
}
