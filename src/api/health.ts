import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import { withOneRequest } from "./stream-call.ts";
import type { Method } from "./unary-call.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty, decodeHealthCheck } from "./wire/other-requests.ts";

/** grpc.health.v1.Health for the one service "", the whole server: it serves for as long as it answers at all. */
const SERVING = 1;
const SERVICE_UNKNOWN = 3;

const statusMessage = (status: number): Message => new Message().number(1, status);

export const healthService: Record<string, Method> = {
  "/grpc.health.v1.Health/Check": (_database, message) => {
    if (decodeHealthCheck(message).service !== "") throw new GrpcError(codes.notFound, "unknown service");
    return statusMessage(SERVING);
  },
  "/grpc.health.v1.Health/List": (_database, message) => {
    decodeEmpty(message, "HealthListRequest");
    // A map's entry: its key, which is empty but written all the same, and its value.
    const entry = new Message().alwaysBytes(1, new Uint8Array(0)).alwaysMessage(2, statusMessage(SERVING));
    return new Message().alwaysMessage(1, entry);
  },
};

/** Tells the status at once and then its changes, of which there are none. Open until the client cancels. */
export const healthWatch = withOneRequest((call, message) => {
  const { service } = decodeHealthCheck(message);
  call.stream.send(statusMessage(service === "" ? SERVING : SERVICE_UNKNOWN));
});
