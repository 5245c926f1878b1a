import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { DiskFile } from "../runtime/runtime.ts";
import { OpenFiles } from "./open-files.ts";

class FakeFile implements DiskFile {
  closed = 0;
  reading = 0;
  readonly content: Buffer;
  constructor(content: string) {
    this.content = Buffer.from(content);
  }
  async read(into: Uint8Array, position: number): Promise<number> {
    equal(this.closed, 0, "a closed file is not read");
    this.reading++;
    await new Promise((resolve) => setImmediate(resolve));
    equal(this.closed, 0, "a file is not closed while it is read");
    this.reading--;
    return this.content.copy(into, 0, position);
  }
  readAtOnce(): null {
    return null;
  }
  async size(): Promise<number> {
    return this.content.length;
  }
  async close(): Promise<void> {
    equal(this.reading, 0);
    this.closed++;
  }
  write(): never {
    throw new Error("nothing is written");
  }
  async truncate(): Promise<void> {}
  async sync(): Promise<void> {}
}

function diskOf(names: readonly string[]) {
  const opened: FakeFile[] = [];
  const disk = {
    async open(path: string, options: { create: boolean }): Promise<DiskFile | null> {
      equal(options.create, false);
      if (!names.includes(path)) return null;
      const file = new FakeFile(`content of ${path}`);
      opened.push(file);
      return file;
    },
  };
  const left = (): number => opened.filter(({ closed }) => closed === 0).length;
  return { opened, left, files: new OpenFiles(disk, 2) };
}

test("a file is opened once, read in parts, clipped at its end; a missing one is null", async () => {
  const { opened, files } = diskOf(["a"]);
  for (let i = 0; i < 3; i++) equal((await files.read("a", 0, 7))!.body.toString(), "content");
  equal(opened.length, 1);
  const end = await files.read("a", 8, 100);
  deepEqual([end!.body.toString(), end!.fileBytes], ["of a", 12]);
  equal((await files.read("a", 50, 100))!.body.length, 0);
  equal(await files.read("b", 0, 1), null);
});

test("at most so many are open, the least used goes first, and none amid a read", async () => {
  const names = ["a", "b", "c", "d"];
  const { opened, left, files } = diskOf(names);
  await files.read("a", 0, 1);
  await files.read("b", 0, 1);
  await files.read("a", 0, 1);
  await files.read("c", 0, 1);
  equal(left(), 2);
  await files.read("a", 0, 1);
  equal(opened.length, 3, "a was used after b, so b went");
  await Promise.all(Array.from({ length: 200 }, (_, i) => files.read(names[i % 4]!, 0, 5)));
  equal(left(), 2);
  const reading = files.read("a", 0, 5);
  files.drop("a");
  files.close();
  equal((await reading)!.body.toString(), "conte");
  equal(left(), 0);
  ok(opened.every(({ closed }) => closed === 1));
});
