import { deepEqual, throws } from "node:assert/strict";
import { test } from "node:test";
import { Journal, type Written } from "./journal.ts";

const at = (revision: number, key: string, value: string | null): Written => ({ revision, key, value });

const history = [at(2, "a", "1"), at(3, "b", "2"), at(4, "a", "3"), at(5, "b", null), at(5, "c", "4")];

function verified(): Journal {
  const journal = new Journal();
  journal.verify(history, 5, { whole: true });
  return journal;
}

test("a write that was acknowledged or seen and is not in the history is told", () => {
  for (const how of ["acknowledge", "observe"] as const) {
    const journal = new Journal();
    journal[how](at(4, "a", "other"));
    throws(() => journal.verify(history, 5, { whole: true }), /lost: a=other@4; revision 4 has a=3@4/);
  }
});

test("a revision that is missing, has changed, or went back is told", () => {
  throws(() => new Journal().verify(history.toSpliced(1, 1), 5, { whole: true }), /revision 3 of 5 is missing/);
  throws(() => verified().verify(history.with(2, at(4, "a", "9")), 5, { whole: true }), /revision 4 has changed/);
  throws(() => verified().verify([], 4, { whole: false }), /the head went back from 5 to 4/);
});

test("a write that was applied twice is told", () => {
  throws(
    () => new Journal().verify([...history, at(6, "d", "3")], 6, { whole: true }),
    /the write of 3 was applied twice/,
  );
});

test("what is trimmed is known by the state that it left", () => {
  const journal = verified();
  journal.trim(4);
  deepEqual(
    [...journal.state(4)],
    [
      ["a", "3"],
      ["b", "2"],
    ],
  );
  deepEqual(
    [...journal.state()],
    [
      ["a", "3"],
      ["c", "4"],
    ],
  );
  throws(() => journal.state(3), /the history there is known/);
  journal.observe(at(4, "a", "3"));
  journal.verify([at(5, "b", null), at(5, "c", "4"), at(6, "d", "5")], 6, { whole: true });
  journal.observe(at(2, "a", "1"));
  throws(() => journal.verify([], 6, { whole: false }), /lost: a=1@2; the history before has left 3/);
});
