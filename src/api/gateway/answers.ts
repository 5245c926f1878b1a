import type { HttpResponse } from "../../transport/transport.ts";
import { httpStatusOf } from "./http-status.ts";

export const JSON_TYPE = "application/json";

/** grpc-gateway passes on what gRPC's own response said of itself. */
export const answeredHeaders = (): Record<string, string> => ({
  "content-type": JSON_TYPE,
  "grpc-metadata-content-type": "application/grpc",
});

export const jsonAnswer = (json: string): HttpResponse => ({ status: 200, headers: answeredHeaders(), body: json });

export const errorAnswer = (code: number, message: string): HttpResponse => ({
  status: httpStatusOf(code),
  headers: { "content-type": JSON_TYPE },
  body: JSON.stringify({ code, message }),
});

/** One response of a stream, and the error that ends one, each a line. */
export const resultLine = (json: unknown): Buffer => Buffer.from(`${JSON.stringify({ result: json })}\n`);
export const errorLine = (code: number, message: string): Buffer =>
  Buffer.from(`${JSON.stringify({ error: { code, message } })}\n`);
