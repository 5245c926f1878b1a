import type { XMLParser } from "fast-xml-parser";
import type { HttpAnswer } from "./s3-http.ts";

/** What an answer of an S3 server means, whatever was asked. */
export type Verdict =
  | "done"
  /** The condition did not hold: nothing was written. */
  | "preconditionFailed"
  /** No such object. */
  | "missing"
  /** The range begins behind the object's end. */
  | "outOfRange"
  /** Another request for the object was under way: nothing was written, and trying again is in order. */
  | "conflict"
  /** Not carried out; come back more slowly. */
  | "throttled"
  /** Not carried out: the server's clock and ours differ too much. */
  | "skewed"
  /** Not carried out: the credentials were good once. */
  | "expired"
  /** Not carried out, and will not be. */
  | "refused"
  /** It may or may not have been carried out. */
  | "broken";

export interface S3Error {
  verdict: Verdict;
  /** The server's own, such as NoSuchBucket; "" where it gave none. */
  code: string;
  /** For people. */
  text: string;
}

const throttlingCodes: ReadonlySet<string> = new Set([
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "RequestLimitExceeded",
  "TooManyRequests",
]);
const expiredCodes: ReadonlySet<string> = new Set(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"]);

/**
 * Of an object that is not there; "" where an answer has no body. Nothing else that a server says with 404 (no such
 * bucket, no such user) is taken for it: an object that is taken for missing is taken for the end of a log.
 */
const missingCodes: ReadonlySet<string> = new Set(["", "NoSuchKey", "NoSuchVersion", "NotFound"]);

let parser: XMLParser | undefined;

/** The parser of answers: no entities, no attributes, every value a text. Loaded when the first one is needed. */
export async function xmlParser(): Promise<XMLParser> {
  if (!parser) {
    const { XMLParser } = await import("fast-xml-parser");
    parser = new XMLParser({
      ignoreAttributes: true,
      parseTagValue: false,
      processEntities: false,
      isArray: (name) => name === "Contents",
    });
  }
  return parser;
}

/** Reads an answer's error, if it is one. Never throws: an answer that cannot be read is judged by its status. */
export async function errorOf(answer: HttpAnswer): Promise<S3Error> {
  const { status } = answer;
  if (status >= 200 && status < 300) return { verdict: "done", code: "", text: "" };
  // These are told by the status alone, and frequent.
  if (status === 412) return { verdict: "preconditionFailed", code: "PreconditionFailed", text: "precondition failed" };
  const { code, message } = await readError(answer);
  const region = answer.header("x-amz-bucket-region");
  const text = [
    `HTTP ${status}`,
    code,
    message,
    status >= 300 && status < 400 && region ? `the bucket is in region ${region}` : "",
    answer.header("x-amz-request-id") ? `(request ${answer.header("x-amz-request-id")})` : "",
  ];
  return {
    verdict: verdictOf(status, code),
    code,
    text: text
      .filter((part) => part !== "")
      .join(" ")
      .slice(0, 500),
  };
}

async function readError(answer: HttpAnswer): Promise<{ code: string; message: string }> {
  const none = { code: "", message: "" };
  if (answer.body.length === 0) return none;
  try {
    const parsed: unknown = (await xmlParser()).parse(answer.body.toString("utf8"));
    const error = fieldOf(parsed, "Error");
    const textOf = (name: string) => {
      const value = fieldOf(error, name);
      return typeof value === "string" ? value : "";
    };
    return { code: textOf("Code"), message: textOf("Message") };
  } catch {
    return none;
  }
}

export const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;

/**
 * 409 is nothing written only by the code of a conditional race; 503 only by SlowDown. All else of the server's own
 * failures may have come after the write.
 */
function verdictOf(status: number, code: string): Verdict {
  if (status >= 200 && status < 300) return "done";
  if (status === 412) return "preconditionFailed";
  if (status === 416) return "outOfRange";
  if (status === 429 || throttlingCodes.has(code)) return "throttled";
  if (code === "RequestTimeTooSkewed") return "skewed";
  if (expiredCodes.has(code)) return "expired";
  if (status === 404) return missingCodes.has(code) ? "missing" : "refused";
  if (status === 409)
    return code === "ConditionalRequestConflict" || code === "OperationAborted" ? "conflict" : "refused";
  if (status === 408 || code === "RequestTimeout") return "broken";
  if (status === 501) return "refused";
  return status >= 500 ? "broken" : "refused";
}
