import { Command, CommanderError } from "commander";
import { runCommand } from "./commands/run.ts";
import { versionText } from "./commands/version.ts";
import { CommandError, UsageError } from "./errors.ts";

/**
 * Exit codes: 0 done; 1 the command failed; 2 wrong arguments or settings, found before anything was done. Errors are
 * one line on standard error.
 */
async function main(): Promise<void> {
  const program = await buildProgram(process.argv[2]);
  overrideExit(program);
  try {
    await helpOf(program, process.argv.slice(2));
    await program.parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}

/**
 * What is slow to load is loaded for the command that needs it: a server starts without the client, and the other way
 * round.
 */
async function buildProgram(wanted: string | undefined): Promise<Command> {
  const program = new Command("t4")
    .description("An etcd v3 database whose durable home is a bucket")
    .version(versionText, "-V, --version", "print the version")
    .addHelpText("after", "\nExamples:\n  t4 run\n  t4 put greeting hello\n  t4 get greeting\n  t4 status");
  program.addCommand(runCommand());
  if (wanted === "run") return program;
  const [{ addOnlineCommands }, { connectionOptions }] = await Promise.all([
    import("./commands/all.ts"),
    import("./context.ts"),
  ]);
  for (const option of connectionOptions()) program.addOption(option);
  addOnlineCommands(program);
  return program;
}

/** `t4 help lease grant`, at any depth. `t4 help nope` is an error that tells what it may have meant: as `t4 nope`. */
async function helpOf(program: Command, [first, ...words]: readonly string[]): Promise<void> {
  if (first !== "help") return;
  let command = program;
  for (const word of words) {
    if (command.commands.length === 0 || word.startsWith("-")) return;
    const found = command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word));
    if (found === undefined) {
      if (word !== "help") await command.parseAsync([word], { from: "user" });
      return;
    }
    command = found;
  }
  if (command !== program) command.help();
}

function overrideExit(command: Command): void {
  command.exitOverride();
  command.configureHelp({ showGlobalOptions: true });
  command.configureOutput({ outputError: (text, write) => write(oneLine(text)) });
  for (const sub of command.commands) overrideExit(sub);
}

/** "Error: unknown option '--lmit' (Did you mean --limit?)" */
const oneLine = (text: string): string =>
  `${text
    .replace(/^error: /, "Error: ")
    .trim()
    .replace(/\n\(/, " (")}\n`;

/** Whoever reads what is printed may stop at any time (`t4 get … | head`): no failure. A full disk is one. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(SIGPIPE_EXIT_CODE);
  process.stderr.write(`Error: cannot write the output: ${error.message}\n`);
  process.exit(1);
}

const SIGPIPE_EXIT_CODE = 141;

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError) {
    process.stderr.write(`Error: ${error.message}\n`);
    return 2;
  }
  if (error instanceof CommandError) {
    process.stderr.write(`Error: ${error.message}\n`);
    return error.exitCode;
  }
  throw error;
}

process.stdout.on("error", onOutputError);
await main();
