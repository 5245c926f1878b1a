import { Command } from "commander";
import { etcdVersion, version } from "../../base/version.ts";
import { print } from "../output.ts";

export const versionText = `t4 version: ${version}\netcd API: ${etcdVersion}`;

export const versionCommand = (): Command =>
  new Command("version").description("Prints the version").action(() => print(versionText));
