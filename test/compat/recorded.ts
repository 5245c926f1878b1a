import { deepEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { EtcdClient } from "./client.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Story } from "./story.ts";
import { type Json, Transcript } from "./transcript.ts";

/** Real etcd's answers: transcripts by story, one file for each group (record.ts makes them). */
export type Recorded = Record<string, Json>;

export const recordedFile = (group: string): URL => new URL(`../recorded/${group}.json`, import.meta.url);

export const readRecorded = (group: string): Recorded =>
  JSON.parse(readFileSync(recordedFile(group), "utf8")) as Recorded;

/** etcd lists a lease's keys in any order. */
const inOrder = (entries: unknown): Json =>
  JSON.parse(JSON.stringify(entries), (name, value: unknown) =>
    name === "keys" && Array.isArray(value) ? value.toSorted() : value,
  ) as Json;

/** Runs a story; its transcript as it would be read back from a file. */
export async function transcriptOf(story: Story, endpoint: Endpoint): Promise<Json> {
  const transcript = new Transcript();
  await story.body(new EtcdClient(endpoint, transcript));
  return inOrder(transcript.entries);
}

/** Runs a story and holds every answer against real etcd's. */
export async function playAgainstRecorded(story: Story, endpoint: Endpoint, recorded: Recorded): Promise<void> {
  const expected = recorded[story.name];
  if (expected === undefined) throw new Error(`no recorded answers of etcd for this story: run test/compat/record.ts`);
  deepEqual(await transcriptOf(story, endpoint), inOrder(expected), "answered as real etcd did");
}
