/** What will happen. Events at one moment go by `tie`, then in the order in which they were made. */
export interface SimEvent {
  atMs: number;
  tie: number;
  sequence: number;
  readonly owner: EventOwner | null;
  readonly label: string;
  readonly run: () => void;
  cancelled: boolean;
}

/** A process: its events happen only while it lives and is not stalled. */
export interface EventOwner {
  readonly name: string;
}

/** A binary heap. Cancelled events stay until they surface. */
export class EventQueue {
  readonly #heap: SimEvent[] = [];

  push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  /** The next event that was not cancelled. */
  pop(): SimEvent | null {
    const heap = this.#heap;
    while (heap.length > 0) {
      const first = heap[0]!;
      const last = heap.pop()!;
      if (heap.length > 0) this.#sink(last);
      if (!first.cancelled) return first;
    }
    return null;
  }

  cancelOwnedBy(owner: EventOwner): void {
    for (const event of this.#heap) if (event.owner === owner) event.cancelled = true;
  }

  #sink(event: SimEvent): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, event)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = event;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  return a.tie !== b.tie ? a.tie < b.tie : a.sequence < b.sequence;
}
