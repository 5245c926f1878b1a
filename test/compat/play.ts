import { test } from "node:test";
import type { Endpoint } from "./endpoint.ts";
import { playAgainstRecorded, readRecorded } from "./recorded.ts";
import { allStories } from "./stories/all.ts";
import type { Story } from "./story.ts";

export interface Runner {
  /** Why it cannot run here, or false. */
  readonly missing: string | false;
  /** An endpoint to a store of the story's own. */
  open(story: Story): Promise<Endpoint>;
  /** Stories of these rows (the first word of a story's name) are for other runners. */
  readonly except?: readonly string[];
}

const STORY_TIMEOUT_MS = 60_000;

/** One test for each story: played on the runner's server, and held against etcd's recorded answers. */
export function playAll(runner: Runner): void {
  for (const [group, stories] of Object.entries(allStories)) {
    const recorded = runner.missing === false ? readRecorded(group) : {};
    for (const story of stories) {
      const skip = runner.missing !== false ? runner.missing : isExcepted(runner, story);
      test(`${group}: ${story.name}`, { skip, timeout: STORY_TIMEOUT_MS }, async () => {
        const endpoint = await runner.open(story);
        try {
          await playAgainstRecorded(story, endpoint, recorded);
        } finally {
          await endpoint.close();
        }
      });
    }
  }
}

const isExcepted = (runner: Runner, story: Story): string | false =>
  runner.except?.includes(story.name.split(" ")[0]!) ? "needs a transport" : false;
