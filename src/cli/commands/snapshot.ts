import { createHash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Command } from "commander";
import { Maintenance } from "../../gen/etcdserverpb/rpc_pb.ts";
import type { EtcdClient } from "../client.ts";
import { online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { print } from "../output.ts";
import { ProgressLine } from "../progress.ts";

const DIGEST_BYTES = 32;

export const snapshotCommand = (): Command =>
  new Command("snapshot").description("Takes the state out as a file of etcd's").addCommand(
    new Command("save")
      .argument("<file>")
      .description("Saves a snapshot that etcdutl restores and a real etcd serves")
      .addHelpText("after", "\nExample:\n  t4 snapshot save backup.db && etcdutl snapshot status backup.db -w table")
      .action(async (file: string, _options, command: Command) => {
        await online(command, async ({ client }) => {
          const version = await save(client, file);
          print(`Snapshot saved at ${file}`);
          if (version !== "") print(`Server version ${version}`);
        });
      }),
  );

/**
 * Into FILE.part, which becomes FILE when all of it is on the disk and its digest is right: FILE is a whole snapshot or
 * not there. Whatever fails on the way leaves nothing behind.
 */
async function save(client: EtcdClient, file: string): Promise<string> {
  const part = `${file}.part`;
  let handle: FileHandle;
  try {
    handle = await open(part, "w", 0o600);
  } catch (error) {
    throw new CommandError(`cannot write ${part}: ${(error as Error).message}`);
  }
  try {
    const version = await download(client, handle);
    await handle.sync();
    await handle.close();
    await rename(part, file);
    await syncDirectory(dirname(file));
    return version;
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(part, { force: true });
    throw error;
  }
}

async function download(client: EtcdClient, handle: FileHandle): Promise<string> {
  const stream = await client.stream(Maintenance.method.snapshot);
  const line = new ProgressLine();
  const digest = createHash("sha256");
  let version = "";
  let bytes = 0;
  /** The last message, which is the digest of all before it. */
  let last: Uint8Array | null = null;
  try {
    stream.send({});
    stream.finish();
    for await (const message of stream.messages()) {
      if (last !== null) digest.update(last);
      last = message.blob;
      version = message.version;
      await writeAll(handle, message.blob, bytes);
      bytes += message.blob.length;
      line.show({ phase: "snapshot", done: bytes, total: bytes + Number(message.remainingBytes) });
    }
  } finally {
    line.clear();
    stream.cancel();
  }
  if (last?.length !== DIGEST_BYTES || !digest.digest().equals(last))
    throw new CommandError("the snapshot did not come whole: its SHA-256 is missing or another one");
  return version;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

/** So that the file's name survives a crash, too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
