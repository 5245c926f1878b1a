import { equal, match, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { FaultClient, show } from "./client.ts";
import { Ledger } from "./ledger.ts";
import type { Ended, ServerProcess } from "./server.ts";
import { eventually, metric, World } from "./world.ts";

/** A start that is refused at once, in one line. */
async function refused(server: ServerProcess, more: string[] = []): Promise<{ line: string; ended: Ended }> {
  server.launch(more);
  const ended = await server.untilEnded(20_000);
  equal(ended.code, 1, server.errors);
  const errors = server.lines.filter((line) => / error /.test(line));
  equal(errors.length, 1, server.errors);
  return { line: errors[0]!, ended };
}

async function local(t: TestContext): Promise<void> {
  await using world = await World.create("directory");
  const args = ["--durability=local", "--session-term=3s"];
  const member = await world.server("member", [...args, "--name=member"]);
  await member.start();
  const client = new FaultClient(member.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 50; n++) {
    const put = await ledger.put(client, `k${n % 5}`);
    ok(put.ok, show(put));
  }
  const pending = () => metric(member, "t4_log_upload_pending_bytes");
  await eventually("everything is uploaded", 10_000, pending, (bytes) => bytes === 0);

  // The same directory, while it is in use.
  const same = await refused(await world.server("member", args));
  match(same.line, /the data directory .*\/member is in use by another process \(its lock is held\)$/);
  // Another disk, while the member serves and after it was killed.
  const stranger = await world.server("stranger", [...args, "--name=stranger"]);
  const because = new RegExp(
    "branch main has durability local, and only disk [0-9a-f]{32} of node member \\(.*\\) may lead it.* or take over " +
      "with --force-takeover, which loses what was acknowledged there and not yet uploaded",
  );
  match((await refused(stranger)).line, because);
  ok((await ledger.put(client, "k0")).ok, "the member was not disturbed");
  await member.stop("SIGKILL");
  await client.close();
  match((await refused(stranger)).line, because);

  // One's own restart waits for no term.
  const restartMs = await member.start();
  t.diagnostic(`restart after kill -9: ${restartMs.toFixed(0)} ms`);
  await ledger.verify(member.endpoint);
  await eventually("everything is uploaded again", 10_000, pending, (bytes) => bytes === 0);
  await member.stop("SIGKILL");

  // By force: all that was uploaded is there, and the old disk is refused from then on.
  const forcedMs = await stranger.start(["--force-takeover"]);
  t.diagnostic(`forced takeover after kill -9: ${forcedMs.toFixed(0)} ms`);
  const loss = await stranger.untilLogged(
    /warn .*forced takeover of branch main: what disk [0-9a-f]{32} of node member/,
  );
  match(loss, /acknowledged in epoch \d+ and had not uploaded is lost; that node may go on serving until/);
  await ledger.verify(stranger.endpoint);
  match((await refused(member)).line, /only disk [0-9a-f]{32} of node stranger \(.*\) may lead it/);
  equal(await stranger.stop("SIGTERM"), 0, stranger.errors);
}

test("local: another process, another disk, a crash, and by force", { timeout: 120_000 }, local);
