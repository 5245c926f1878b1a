import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { defaultRetention } from "./checkpoint-retention.ts";
import { parseAge, parseTiers, wrongRelation } from "./retention-text.ts";

test("the text of the defaults is the defaults", () => {
  deepEqual(parseTiers("1h:all,24h:hourly,30d:daily"), defaultRetention.tiers);
  equal(parseAge("24h"), defaultRetention.logMs);
  deepEqual(parseTiers("none"), []);
  deepEqual(parseTiers("2w:weekly"), [{ ageMs: 14 * 86_400_000, everyMs: 7 * 86_400_000 }]);
});

test("what is wrong is named", () => {
  const wrong = (text: string, why: RegExp) => throws(() => parseTiers(text), { message: why });
  wrong("", /expected AGE:all\|minutely\|hourly\|daily\|weekly such as "24h:hourly", not ""/);
  wrong("1h", /expected AGE:.*, not "1h"/);
  wrong("1h:yearly", /not "1h:yearly"/);
  wrong("1h:toString", /not "1h:toString"/);
  wrong("1h:all:x", /not "1h:all:x"/);
  wrong("x:all", /expected an age such as "24h" or "30d", not "x"/);
  wrong("1.5h:all", /not "1.5h"/);
  wrong("99999d:all", /is over 3660 days/);
  wrong("1m:hourly", /the age is below the period/);
  wrong("24h:hourly,1h:daily", /"1h:daily": the age is below the period/);
  wrong("24h:hourly,24h:daily", /"24h:daily" does not reach further back than "24h:hourly"/);
  wrong("24h:hourly,48h:all", /"48h:all" keeps no fewer than "24h:hourly" before it/);
  wrong(new Array(17).fill("1h:all").join(), /more than 16 parts/);
});

test("the log is not kept for longer than checkpoints are", () => {
  equal(wrongRelation(defaultRetention), null);
  equal(wrongRelation({ logMs: 0, tiers: [] }), null);
  equal(wrongRelation({ logMs: 1, tiers: [] }), null);
  const tiers = parseTiers("1h:all");
  equal(typeof wrongRelation({ logMs: 7_200_000, tiers }), "string");
  equal(wrongRelation({ logMs: 3_600_000, tiers }), null);
});
