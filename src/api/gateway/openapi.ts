import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { type GatewayMethod, gatewayMethods } from "./methods.ts";

type Schema = Record<string, unknown>;

/** The gateway's description as an OpenAPI document, made of the same descriptors that it works by. */
export function openApiDocument(version: string): string {
  const schemas: Record<string, Schema> = {};
  const paths: Record<string, Schema> = {};
  for (const method of gatewayMethods) {
    addMessage(method.input, schemas);
    addMessage(method.output, schemas);
    for (const path of method.httpPaths) paths[path] = { post: operation(method) };
  }
  return JSON.stringify({
    openapi: "3.1.0",
    info: { title: "etcd v3 API as JSON", version },
    security: [{}, { token: [] }],
    paths,
    components: {
      schemas: { ...schemas, Error: errorSchema },
      securitySchemes: { token: { type: "apiKey", in: "header", name: "Authorization" } },
    },
  });
}

const errorSchema: Schema = {
  type: "object",
  properties: { code: { type: "integer", description: "gRPC status code" }, message: { type: "string" } },
};

const reference = (message: DescMessage): Schema => ({ $ref: `#/components/schemas/${message.typeName}` });
const json = (schema: Schema): Schema => ({ content: { "application/json": { schema } } });

function operation({ service, name, input, output, kind }: GatewayMethod): Schema {
  const streams = kind === "bidi_streaming" || kind === "server_streaming";
  const result: Schema = streams
    ? { type: "object", properties: { result: reference(output), error: { $ref: "#/components/schemas/Error" } } }
    : reference(output);
  const description = streams ? "Responses, each a line, as they come" : "The response";
  return {
    operationId: `${service}_${name}`,
    tags: [service],
    requestBody: json(reference(input)),
    responses: {
      "200": { description, ...json(result) },
      default: { description: "An error", ...json({ $ref: "#/components/schemas/Error" }) },
    },
  };
}

/** The message, and all that it is made of. */
function addMessage(message: DescMessage, schemas: Record<string, Schema>): void {
  if (schemas[message.typeName] !== undefined) return;
  const properties: Record<string, Schema> = {};
  // Entered before its fields are: a transaction may hold transactions.
  schemas[message.typeName] = { type: "object", properties };
  for (const field of message.fields) properties[field.name] = fieldSchema(field, schemas);
}

function fieldSchema(field: DescField, schemas: Record<string, Schema>): Schema {
  switch (field.fieldKind) {
    case "scalar":
      return scalarSchema(field.scalar);
    case "enum":
      return enumSchema(field.enum);
    case "message":
      addMessage(field.message, schemas);
      return reference(field.message);
    case "list":
      return { type: "array", items: itemSchema(field, schemas) };
    case "map":
      return { type: "object" };
  }
}

function itemSchema(field: DescField & { fieldKind: "list" }, schemas: Record<string, Schema>): Schema {
  if (field.listKind === "scalar") return scalarSchema(field.scalar);
  if (field.listKind === "enum") return enumSchema(field.enum);
  addMessage(field.message, schemas);
  return reference(field.message);
}

const enumSchema = ({ values }: DescEnum): Schema => ({ type: "string", enum: values.map(({ name }) => name) });

function scalarSchema(type: ScalarType): Schema {
  switch (type) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return { type: "string", format: type === ScalarType.INT64 ? "int64" : "uint64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    default:
      return { type: "integer" };
  }
}
