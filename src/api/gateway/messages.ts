import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import type { Encodable } from "../../transport/transport.ts";
import { checkNumbers } from "./check-numbers.ts";
import { JsonTextError } from "./json-text.ts";
import type { GatewayMethod } from "./methods.ts";

/** A request as JSON to the bytes that gRPC would have carried. Throws JsonTextError for what makes no request. */
export function requestBytes({ input }: GatewayMethod, json: unknown): Buffer {
  checkNumbers(input, json);
  try {
    const message = fromJson(input, json as JsonValue, { ignoreUnknownFields: true });
    const bytes = toBinary(input, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    throw new JsonTextError(`proto: ${(error as Error).message}`);
  }
}

/** A response's JSON: names as in the protocol, 64-bit numbers as text, bytes as base64, what is zero left out. */
export function responseJson({ output }: GatewayMethod, response: Encodable): JsonValue {
  const bytes = Buffer.allocUnsafeSlow(response.byteLength());
  response.encodeInto(bytes, 0);
  return toJson(output, fromBinary(output, bytes), { useProtoFieldName: true });
}
