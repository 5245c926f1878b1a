import { pino } from "pino";

export type Level = "debug" | "info" | "warn" | "error";

/** What the server says of itself: a sentence and the facts that belong to it. Never a value of the users'. */
export type Log = Record<Level, (sentence: string, facts?: Readonly<Record<string, unknown>>) => void>;

export interface LogOptions {
  /** The two most quiet ones are etcd's: nothing here is said at them. */
  level: Level | "panic" | "fatal";
  format: "json" | "console";
  write: (text: string) => void;
}

export function createLog({ level, format, write }: LogOptions): Log {
  const destination = { write: (line: string) => write(format === "json" ? line : consoleLine(line)) };
  const logger = pino(
    {
      level: level === "panic" ? "fatal" : level,
      base: null,
      messageKey: "msg",
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const at = (name: Level) => {
    const say = (sentence: string, facts?: Readonly<Record<string, unknown>>): void => {
      if (!logger.isLevelEnabled(name)) return;
      if (format === "console") logger[name](facts ?? {}, sentence);
      else logger[name]({ caller: callerOf(say), ...facts }, sentence);
    };
    return say;
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Folder, file and line of who called `called`, as in etcd's JSON lines; in a bundle they are the bundle's. */
function callerOf(called: (...args: never[]) => void): string {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 1;
  const here: { stack?: string } = {};
  Error.captureStackTrace(here, called);
  Error.stackTraceLimit = stackTraceLimit;
  return /[^/\\\s(]+[/\\][^/\\]+:\d+(?=:\d+\)?$)/.exec(here.stack ?? "")?.[0] ?? "unknown";
}

/** "2026-01-02T03:04:05.678Z info  ready to serve client requests  url=http://127.0.0.1:2379" */
function consoleLine(json: string): string {
  const { level, ts, msg, ...facts } = JSON.parse(json) as Record<string, unknown>;
  const shown = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === "string" ? quoted(value) : JSON.stringify(value)}`,
  );
  return `${String(ts)} ${String(level).padEnd(5)} ${[String(msg), ...shown].join("  ")}\n`;
}

const quoted = (text: string): string => (/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));
