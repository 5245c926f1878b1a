import { Command } from "commander";
import { etcdVersion, version } from "../../base/version.ts";
import { print } from "../output.ts";

export const versionText = `t4 version: ${version}\netcd API: ${etcdVersion}`;

export const versionCommand = (): Command =>
  new Command("version").description("Prints the version").action((_options, self: Command) => {
    const { json, writeOut } = self.optsWithGlobals<{ json?: boolean; writeOut?: string }>();
    if (json || writeOut === "json") print(JSON.stringify({ version, etcdVersion }));
    else print(versionText);
  });
