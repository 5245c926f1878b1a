// A client that keeps a copy of a list by a watch, as informers do, and checks each event against the copy.
import { setTimeout as sleep } from "node:timers/promises";
import type { ApiClient, KubeObject, WatchEvent } from "./api-client.ts";

/** How a watcher begins: by a list in pages, or by a watch that sends what there is first. */
export type Beginning = "list" | "watch-list";

export class CopyByWatch {
  readonly copy = new Map<string, KubeObject>();
  readonly wrong: string[] = [];
  events = 0;
  bookmarks = 0;
  /** Times that a watch was begun again where it had ended, and that all was read anew. */
  resumed = 0;
  relisted = 0;
  readonly #client: ApiClient;
  readonly #path: string;
  readonly #beginning: Beginning;
  readonly #stopping = new AbortController();
  #revision = "";
  #running: Promise<void> | null = null;

  constructor(client: ApiClient, path: string, beginning: Beginning) {
    this.#client = client;
    this.#path = path;
    this.#beginning = beginning;
  }

  get revision(): number {
    return Number(this.#revision);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Until it has what was written up to a revision. */
  async untilAt(revision: number, timeoutMs: number): Promise<boolean> {
    const begunMs = performance.now();
    while (this.revision < revision && performance.now() - begunMs < timeoutMs) await sleep(50);
    return this.revision >= revision;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        if (this.#revision === "" && this.#beginning === "list") await this.#list();
        await this.#watch(signal);
        this.resumed++;
      } catch {
        // The API server may be without its store: again, from the revision where it ended.
        if (!signal.aborted) await sleep(100);
      }
    }
  }

  async #list(): Promise<void> {
    const items: KubeObject[] = [];
    let revision = "";
    let more = "";
    do {
      const next = more === "" ? "" : `&continue=${encodeURIComponent(more)}`;
      const page = await this.#client.list(`${this.#path}?limit=100${next}`);
      items.push(...page.items);
      if (revision !== "" && page.metadata.resourceVersion !== revision) this.wrong.push("pages of two revisions");
      revision = page.metadata.resourceVersion!;
      more = page.metadata.continue ?? "";
    } while (more !== "");
    this.copy.clear();
    for (const object of items) this.copy.set(idOf(object), object);
    this.#revision = revision;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const initial = this.#revision === "";
    const from = initial
      ? "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
      : `resourceVersion=${this.#revision}`;
    if (initial) this.copy.clear();
    let begun = !initial;
    const path = `${this.#path}?watch=true&allowWatchBookmarks=true&${from}`;
    for await (const event of this.#client.watch(path, signal)) {
      if (event.type === "ERROR") {
        if (event.object.code !== 410) throw new Error(JSON.stringify(event.object));
        this.#revision = "";
        this.relisted++;
        return;
      }
      if (!begun) begun = this.#takeInitial(event);
      else this.#take(event);
    }
  }

  /** Of what there is first: in any order of revisions, up to a bookmark that says so. */
  #takeInitial(event: WatchEvent): boolean {
    if (event.type === "BOOKMARK") {
      this.bookmarks++;
      if (event.object.metadata.annotations?.["k8s.io/initial-events-end"] !== "true") return false;
      this.#revision = event.object.metadata.resourceVersion!;
      return true;
    }
    this.#apply(event);
    return false;
  }

  #take(event: WatchEvent): void {
    const revision = Number(event.object.metadata.resourceVersion);
    const isBookmark = event.type === "BOOKMARK";
    if (isBookmark ? revision < this.revision : revision <= this.revision) {
      this.wrong.push(`${event.type} of ${revision} after ${this.#revision}`);
    }
    if (isBookmark) this.bookmarks++;
    else this.#apply(event);
    this.#revision = String(revision);
  }

  #apply({ type, object }: WatchEvent): void {
    this.events++;
    const id = idOf(object);
    if ((type === "ADDED") === this.copy.has(id)) this.wrong.push(`${type} of ${id}, which the copy says otherwise of`);
    if (type === "DELETED") this.copy.delete(id);
    else this.copy.set(id, object);
  }
}

export function idOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}
