import { ClosedByBug } from "../base/errors.ts";
import { AuthDesk } from "./auth-desk.ts";
import { BranchSettings } from "./branches/branch-settings.ts";
import { notCarriedOut } from "./call-outcome.ts";
import type { DatabaseOptions } from "./database-options.ts";
import { Evaluations } from "./evaluations.ts";
import { GivingUp } from "./giving-up.ts";
import { KeyReads } from "./key-reads.ts";
import { KeyWrites } from "./key-writes.ts";
import { LeaseCalls } from "./lease-calls.ts";
import { LeaseExpiry } from "./lease-expiry.ts";
import { BranchMaintenance } from "./maintenance/branch-maintenance.ts";
import { Quota } from "./maintenance/quota.ts";
import { Sequencer } from "./sequencer.ts";
import { SequencerGate } from "./sequencer-gate.ts";
import { Serving } from "./serving.ts";
import { StatusView } from "./status-view.ts";

/**
 * What a branch under one leadership is made of, and what each part is given of the others:
 *
 *   reads:  KeyReads, LeaseCalls ─► Serving (open, proof) ─► tree at `committed`
 *   writes: KeyWrites, LeaseCalls, AuthDesk, BranchMaintenance, BranchSettings ─► SequencerGate ─► Sequencer
 *   end:    GivingUp (the last records of a leadership); Sequencer.fail (as by a crash)
 */
export class DatabaseParts {
  readonly sequencer: Sequencer;
  readonly serving: Serving;
  readonly gate: SequencerGate;
  readonly reads: KeyReads;
  readonly writes: KeyWrites;
  readonly leases: LeaseCalls;
  readonly expiry: LeaseExpiry;
  readonly desk: AuthDesk;
  readonly maintenance: BranchMaintenance;
  readonly settings: BranchSettings;
  readonly givingUp: GivingUp;
  readonly statusView: StatusView;
  readonly #options: DatabaseOptions;
  readonly #nowMs: () => number;

  constructor(options: DatabaseOptions) {
    const { leadership, lessor, storage, settings, runtime, tree, committed } = options;
    this.#options = options;
    this.#nowMs = () => runtime.clock.monotonicMs();
    this.sequencer = this.#makeSequencer();
    this.serving = new Serving(leadership, this.sequencer, { readsMax: settings.callsMax });
    this.gate = new SequencerGate(this.serving, this.sequencer, () => storage.room());
    this.reads = new KeyReads({ serving: this.serving, tree, committed, timers: runtime.timers });
    this.maintenance = this.#makeMaintenance();
    this.settings = this.#makeSettings();
    this.expiry = this.#makeExpiry();
    const evaluations = this.#makeEvaluations();
    this.writes = this.#makeWrites(evaluations);
    this.leases = this.#makeLeases(evaluations);
    this.desk = this.#makeDesk();
    const parts = { ...options, serving: this.serving, sequencer: this.sequencer, expiry: this.expiry };
    this.givingUp = new GivingUp({ ...parts, nowMs: this.#nowMs });
    this.statusView = new StatusView(parts);
    leadership.onLost = (error) => this.sequencer.fail(error);
    leadership.onRegained = () => lessor.renewAll(this.#nowMs());
    const { refusal } = this.settings;
    this.sequencer.refuseWrites(refusal);
    if (refusal === null) this.expiry.schedule();
  }

  #makeSequencer(): Sequencer {
    const { tree, log, settings, storage, watch, onEnd, committed, leadership, leasesStripped, runtime } =
      this.#options;
    return new Sequencer(tree, log, {
      ...committed,
      committed,
      clock: runtime.clock,
      timers: runtime.timers,
      requestTimeoutMs: settings.requestTimeoutMs,
      leasesStripped,
      callsMax: settings.callsMax,
      bytesMax: settings.bytesMax,
      proof: () => leadership.proof(),
      storageRefusal: () => storage.refusal(),
      onCommitted: (commits) => watch.committed(commits),
      onCompacted: (compactRevision) => watch.compacted(compactRevision),
      onEnd: (error) => {
        this.expiry.stop();
        watch.fail(notCarriedOut(error));
        onEnd(error);
      },
    });
  }

  #makeMaintenance(): BranchMaintenance {
    const { maintenance, identity, tree, lessor, committed, storage, settings, leadership } = this.#options;
    return new BranchMaintenance({
      ...maintenance,
      identity,
      tree,
      lessor,
      committed,
      quota: new Quota(settings.quotaBytes, () => storage.stats(this.sequencer.liveBytes).bytesInUse),
      epoch: () => leadership.epoch,
      run: (evaluate, request) => this.gate.run(evaluate, request),
      versionsInOrder: (request) => this.reads.versionsInOrder(request),
      defragment: (signal) => storage.defragment(signal),
    });
  }

  #makeSettings(): BranchSettings {
    return new BranchSettings(this.#options.branch, {
      identity: this.#options.identity,
      run: (evaluate, request) => this.gate.run(evaluate, request),
      onWritesTaken: () => {
        this.#options.lessor.renewAll(this.#nowMs());
        this.expiry.schedule();
      },
    });
  }

  #makeExpiry(): LeaseExpiry {
    const { lessor, runtime, settings } = this.#options;
    return new LeaseExpiry(lessor, {
      clock: runtime.clock,
      timers: runtime.timers,
      perSecond: settings.expiriesPerSecond,
      mayExpire: () => this.serving.unprovenBecause() === null && this.settings.takesWrites,
      expire: (lease) => this.leases.expire(lease),
      onBug: (error) => this.serving.end(new ClosedByBug(error)),
    });
  }

  #makeEvaluations(): Evaluations {
    const { lessor, maintenance } = this.#options;
    return new Evaluations({
      lessor,
      alarms: maintenance.alarms,
      nowMs: this.#nowMs,
      onGranted: () => this.expiry.schedule(),
    });
  }

  #makeWrites(evaluations: Evaluations): KeyWrites {
    const { settings, storage } = this.#options;
    return new KeyWrites({
      gate: this.gate,
      evaluations,
      reads: this.reads,
      maintenance: this.maintenance,
      txnOpsMax: settings.txnOpsMax,
      compacted: (revision) => storage.compacted(revision),
    });
  }

  #makeLeases(evaluations: Evaluations): LeaseCalls {
    const { lessor, committed, runtime } = this.#options;
    return new LeaseCalls({
      serving: this.serving,
      gate: this.gate,
      sequencer: this.sequencer,
      evaluations,
      lessor,
      committed,
      maintenance: this.maintenance,
      random: runtime.random,
      nowMs: this.#nowMs,
      takesWrites: () => this.settings.takesWrites,
    });
  }

  #makeDesk(): AuthDesk {
    const { auth, log, settings, runtime, leadership, committed } = this.#options;
    return new AuthDesk(auth.state, {
      ...settings.auth,
      tokens: auth.tokens,
      passwords: runtime.passwords,
      random: runtime.random,
      run: (evaluate, request, guard) => this.gate.run(evaluate, request, guard),
      proof: () => {
        this.serving.checkTaking();
        return leadership.proof();
      },
      answer: () => ({ revision: committed.revision }),
      record: () => log.head,
    });
  }
}
