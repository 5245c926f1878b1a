import { Command, Option } from "commander";
import { formerNames, ignoredFlags } from "../../server/foreign-settings.ts";
import { resolveSettings, runSettings, SettingsError, variableOf } from "../../server/settings.ts";
import { UsageError } from "../errors.ts";

/** Flags of etcd's that are understood and not followed, and former names of ones that are. */
const foreignFlags = [...Object.keys(ignoredFlags), ...Object.keys(formerNames)];

export function runCommand(): Command {
  const command = new Command("run")
    .description("Serves a database from an object store")
    .option("--config-file <path>", "YAML with settings by the names of the flags (T4_CONFIG_FILE, ETCD_CONFIG_FILE)")
    .addHelpText(
      "after",
      [
        "\nA setting comes from its flag, else from the environment, else from the file. Flags of etcd's have its",
        "names and variables (ETCD_…); ours are T4_….",
        "\nExamples:",
        "  t4 run",
        "  t4 run --data-dir /var/lib/t4 --store 's3://bucket/prefix?region=eu-central-1'",
        "  t4 run --config-file t4.yaml --log-level debug",
      ].join("\n"),
    );
  for (const [name, { kind, byDefault, etcd, help }] of Object.entries(runSettings)) {
    const shown = byDefault === undefined ? "" : ` (default ${byDefault})`;
    const value = kind.name === "bool" ? "[bool]" : `<${kind.name}>`;
    const option = new Option(`--${name} ${value}`, `${help}${shown} [${variableOf(name, etcd)}]`);
    if (kind.repeatable) option.argParser((text: string, before?: string) => (before ? `${before},${text}` : text));
    command.addOption(option);
  }
  for (const name of foreignFlags) command.addOption(new Option(`--${name} [value]`).hideHelp());
  return command.action(async (options: Record<string, string | true>) => {
    const { settings, warnings } = await settingsOf(options);
    const { serve } = await import("../../server/serve.ts");
    const code = await serve(settings, warnings);
    // Requests to a store or disk that hangs may be under way: nobody waits for them any more.
    process.exit(code);
  });
}

async function settingsOf(options: Record<string, string | true>): Promise<ReturnType<typeof resolveSettings>> {
  const flags: Record<string, string | undefined> = {};
  for (const name of [...Object.keys(runSettings), ...foreignFlags]) {
    const value = options[name.replace(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase())];
    flags[name] = value === true ? "true" : value;
  }
  try {
    const given = options["configFile"] ?? process.env["T4_CONFIG_FILE"] ?? process.env["ETCD_CONFIG_FILE"];
    const file = typeof given === "string" ? (await import("../settings-file.ts")).readSettingsFile(given) : null;
    return resolveSettings({ flags, env: process.env, file });
  } catch (error) {
    if (error instanceof SettingsError) throw new UsageError(error.message);
    throw error;
  }
}
