import { createInterface } from "node:readline";
import { Command } from "commander";
import { Watch, type WatchRequestSchema, type WatchResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import type { EtcdStream } from "../client.ts";
import { type Context, int64, online } from "../context.ts";
import { CommandError, UsageError } from "../errors.ts";
import { keyRange, type RangeOptions } from "../key-range.ts";
import { splitWords } from "./txn-language.ts";
import { showCanceled, showEvents, watchCanceled } from "./watch-print.ts";

interface WatchOptions extends RangeOptions {
  rev?: string;
  prevKv?: boolean;
  progressNotify?: boolean;
}

const addWatchOptions = (command: Command): Command =>
  command
    .argument("[key]")
    .argument("[range_end]")
    .argument("[exec...]", "after --: a command to run for each event, with ETCD_WATCH_… in its environment")
    .option("--prefix", "keys that begin with KEY")
    .option("--from-key", "keys from KEY on")
    .option("--rev <revision>", "from this revision on, history first")
    .option("--prev-kv", "print the pair before each event")
    .option("--progress-notify", "print how far the server is while nothing happens");

export const watchCommand = (): Command =>
  addWatchOptions(new Command("watch"))
    .option("-i, --interactive", "read lines from standard input: watch … with these options, or progress")
    .description("Prints what happens to a key, or a range of keys")
    .addHelpText(
      "after",
      [
        "\nExamples:",
        "  t4 watch --prefix /config/",
        "  t4 watch key --rev 1 --json",
        "  t4 watch key -- sh -c 'echo $ETCD_WATCH_KEY'",
        "  printf 'watch a\\nwatch --prefix b\\n' | t4 watch -i",
      ].join("\n"),
    )
    .action(async (_key, _end, _exec, options: WatchOptions & { interactive?: boolean }, command: Command) => {
      if (options.interactive) {
        await online(command, watchInteractively);
        return;
      }
      const asked = watchOf(command.args, process.argv.slice(2), options);
      await online(command, async (context) => {
        const session = new WatchSession(context, await context.client.stream(Watch.method.watch));
        session.create(asked);
        try {
          await session.print((why) => {
            throw new CommandError(why);
          });
        } finally {
          session.close();
        }
      });
    });

interface Asked {
  key: Buffer;
  rangeEnd: Buffer;
  startRevision: bigint;
  prevKv: boolean;
  progressNotify: boolean;
  exec: string[];
}

/** `args` are the words without options, `words` all of them: what stands behind `--` is a command of the user's. */
function watchOf(args: readonly string[], words: readonly string[], options: WatchOptions): Asked {
  const dashes = words.indexOf("--");
  if (dashes >= 0 && dashes === words.length - 1) throw new UsageError("watch: a command must stand behind --");
  const execLength = dashes < 0 ? 0 : words.length - dashes - 1;
  return {
    ...keyRange("watch", args.slice(0, args.length - execLength), options),
    startRevision: options.rev === undefined ? 0n : int64("--rev", options.rev),
    prevKv: options.prevKv ?? false,
    progressNotify: options.progressNotify ?? false,
    exec: execLength === 0 ? [] : args.slice(-execLength),
  };
}

/** Watchers on one stream. */
class WatchSession {
  readonly #context: Context;
  readonly #stream: EtcdStream<typeof WatchRequestSchema, typeof WatchResponseSchema>;
  /** Of watchers asked for and not yet created, in the order in which they will be. */
  readonly #expected: string[][] = [];
  readonly #execs = new Map<bigint, string[]>();
  #closed = false;

  constructor(context: Context, stream: EtcdStream<typeof WatchRequestSchema, typeof WatchResponseSchema>) {
    this.#context = context;
    this.#stream = stream;
  }

  get hasWatchers(): boolean {
    return this.#expected.length + this.#execs.size > 0;
  }

  create({ exec, ...value }: Asked): void {
    this.#expected.push(exec);
    this.#stream.send({ requestUnion: { case: "createRequest", value } });
  }

  askForProgress(): void {
    this.#stream.send({ requestUnion: { case: "progressRequest", value: {} } });
  }

  /** Until the stream ends, which the server does not do by itself; `onCanceled` hears why a watcher ended. */
  async print(onCanceled: (why: string) => void): Promise<void> {
    for await (const response of this.#stream.messages()) {
      if (response.created) {
        const exec = this.#expected.shift() ?? [];
        if (!response.canceled) this.#execs.set(response.watchId, exec);
      }
      if (response.canceled) {
        if (!response.created) showCanceled(response, this.#context.output);
        onCanceled(watchCanceled(response));
      } else if (!response.created) {
        await showEvents(response, this.#context.output, this.#execs.get(response.watchId) ?? []);
      }
    }
    if (!this.#closed) throw new CommandError("watch is canceled by the server");
  }

  close(): void {
    this.#closed = true;
    this.#stream.cancel();
  }
}

/**
 * Lines of standard input; one that is wrong is told of, and does not end the others. The end of the input ends it on a
 * terminal; behind a pipe the watchers that were asked for go on.
 */
async function watchInteractively(context: Context): Promise<void> {
  const session = new WatchSession(context, await context.client.stream(Watch.method.watch));
  const complain = (why: string) => process.stderr.write(`${why}\n`);
  const printed = session.print(complain);
  const lines = createInterface({ input: process.stdin });
  // When the server ends the stream, nobody waits for more lines.
  printed.catch(() => lines.close());
  for await (const line of lines) {
    try {
      if (line.trim() !== "") obey(line, session);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      complain(`Invalid command ${line} (${error.message})`);
    }
  }
  if (process.stdin.isTTY || !session.hasWatchers) session.close();
  await printed;
}

function obey(line: string, session: WatchSession): void {
  const [name, ...words] = splitWords(line);
  if (name === "progress" && words.length === 0) session.askForProgress();
  else if (name === "watch") session.create(parseWatch(words));
  else throw new UsageError("expected watch or progress");
}

function parseWatch(words: string[]): Asked {
  const command = addWatchOptions(new Command("watch")).exitOverride().showSuggestionAfterError(false);
  command.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  try {
    command.parse(words, { from: "user" });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/^error: /, ""));
  }
  return watchOf(command.args, words, command.opts<WatchOptions>());
}
