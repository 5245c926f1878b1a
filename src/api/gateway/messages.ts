import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Encodable, GrpcError } from "../../transport/transport.ts";
import { codes } from "../errors.ts";
import { JsonTextError } from "./json-text.ts";
import type { GatewayMethod } from "./methods.ts";
import { normalizeFields } from "./request-fields.ts";

/** JSON of more levels is refused before it comes here (json-text.ts); transactions may nest as deep as by gRPC. */
const recursionLimit = 1000;

/** A request as JSON to the bytes that gRPC would have carried. Throws JsonTextError for what makes no request. */
export function requestBytes({ input }: GatewayMethod, json: unknown): Buffer {
  normalizeFields(input, json);
  try {
    const message = fromJson(input, json as JsonValue, { ignoreUnknownFields: true, recursionLimit });
    const bytes = toBinary(input, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    throw new JsonTextError(`proto: ${(error as Error).message}`);
  }
}

/** Names that came by gRPC may be any bytes: as from etcd such an answer is had by gRPC alone. */
function readResponse(output: DescMessage, bytes: Buffer): Message {
  try {
    return fromBinary(output, bytes, { recursionLimit });
  } catch (error) {
    if (!isNotUtf8(error)) throw error;
    throw new GrpcError(codes.unknown, `proto: a field of ${output.typeName} contains invalid UTF-8`);
  }
}

const isNotUtf8 = (error: unknown): boolean =>
  error instanceof TypeError && (error as NodeJS.ErrnoException).code === "ERR_ENCODING_INVALID_ENCODED_DATA";

/** A response's JSON: names as in the protocol, 64-bit numbers as text, bytes as base64, what is zero left out. */
export function responseJson(method: GatewayMethod, response: Encodable): JsonValue {
  const bytes = Buffer.allocUnsafeSlow(response.byteLength());
  response.encodeInto(bytes, 0);
  return bytesJson(method, bytes);
}

/** The same of some whole fields of a response. */
export const bytesJson = ({ output }: GatewayMethod, bytes: Buffer): JsonValue =>
  toJson(output, readResponse(output, bytes), { useProtoFieldName: true });
