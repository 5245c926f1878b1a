import { Command } from "commander";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";

export const completionCommand = (program: Command): Command =>
  new Command("completion")
    .argument("<shell>", "bash, zsh or fish")
    .description("Prints a script that completes t4's commands and options in a shell")
    .addHelpText("after", "\nExample:\n  source <(t4 completion bash)")
    .action((shell: string) => {
      print(completionScript(program, shell));
    });

/** Words that may follow each command: "" is t4 itself, "lease grant" a subcommand. */
function wordsByCommand(program: Command): Map<string, string[]> {
  const words = new Map<string, string[]>();
  const visit = (command: Command, path: string) => {
    const names = command.commands.flatMap((sub) => [sub.name(), ...sub.aliases()]);
    const shared = path === "" || isOffline(path) ? [] : program.options;
    const options = [...command.options, ...shared].map((option) => option.long ?? option.short ?? "");
    const list = [...names, ...argumentsOf(path), ...options, "--help"];
    for (const name of [command.name(), ...command.aliases()]) words.set(path.replace(/\S+$/, name), list);
    for (const sub of command.commands) visit(sub, `${path} ${sub.name()}`.trim());
  };
  visit(program, "");
  return words;
}

/** Commands that speak to no server. */
const isOffline = (path: string): boolean => ["run", "version", "completion"].includes(path);
const argumentsOf = (path: string): string[] => (path === "completion" ? ["bash", "zsh", "fish"] : []);

function completionScript(program: Command, shell: string): string {
  const words = wordsByCommand(program);
  switch (shell) {
    case "bash":
      return bash(words);
    case "zsh":
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`;
    case "fish":
      return fish(words);
    default:
      throw new UsageError(`no completion for "${shell}": expected bash, zsh or fish`);
  }
}

/** A word is part of the command's name only where it makes a known one: others are keys, and values of options. */
function bash(words: Map<string, string[]>): string {
  const cases = [...words].map(([path, list]) => `    "${path}") words="${list.join(" ")}" ;;`);
  return [
    "_t4() {",
    `  local known="|${[...words.keys()].join("|")}|" path="" words="" next i`,
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    '    next="${path:+$path }${COMP_WORDS[i]}"',
    '    [[ $known == *"|$next|"* ]] && path=$next',
    "  done",
    '  case "$path" in',
    ...cases,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    "}",
    "complete -o default -F _t4 t4",
  ].join("\n");
}

function fish(words: Map<string, string[]>): string {
  const lines: string[] = [];
  for (const [path, list] of words) {
    const condition =
      path === ""
        ? "__fish_use_subcommand"
        : path
            .split(" ")
            .map((part) => `__fish_seen_subcommand_from ${part}`)
            .join("; and ");
    for (const word of list) {
      const what = word.startsWith("--")
        ? `-l ${word.slice(2)}`
        : word.startsWith("-")
          ? `-s ${word.slice(1)}`
          : `-f -a ${word}`;
      lines.push(`complete -c t4 -n '${condition}' ${what}`);
    }
  }
  return lines.join("\n");
}
