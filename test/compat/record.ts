/**
 * Writes real etcd's answers to every story into test/recorded. To be run, and its result committed, when a story
 * is new or
 * changed: `t4-node test/compat/record.ts [group …]`.
 */
import { writeFile } from "node:fs/promises";
import { etcdIsMissing, startEtcd } from "./etcd-process.ts";
import { recordedFile, transcriptOf } from "./recorded.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { allStories } from "./stories/all.ts";
import type { Json } from "./transcript.ts";

const missing = etcdIsMissing();
if (missing !== false) throw new Error(missing);
const wanted = process.argv.slice(2);
for (const [group, stories] of Object.entries(allStories)) {
  if (wanted.length > 0 && !wanted.includes(group)) continue;
  const recorded: Record<string, Json> = {};
  for (const story of stories) {
    const etcd = await startEtcd({ defaultTimings: story.defaultTimings === true });
    const endpoint = new SocketEndpoint(etcd.address);
    try {
      recorded[story.name] = await transcriptOf(story, endpoint);
    } catch (error) {
      console.error(`${group}: ${story.name}: ${error instanceof Error ? error.stack : error}`);
      process.exitCode = 1;
    } finally {
      await endpoint.close();
      await etcd.stop();
    }
  }
  // One line an answer: a change is then one line of a diff.
  const body = Object.entries(recorded).map(([name, entries]) => {
    const lines = (entries as Json[]).map((entry) => `    ${JSON.stringify(entry)}`);
    return `  ${JSON.stringify(name)}: [\n${lines.join(",\n")}\n  ]`;
  });
  await writeFile(recordedFile(group), `{\n${body.join(",\n")}\n}\n`);
}
