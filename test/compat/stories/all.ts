import type { Story } from "../story.ts";
import { authStories } from "./auth.ts";
import { authAccessStories } from "./auth-access.ts";
import { clusterStories } from "./cluster.ts";
import { compactStories } from "./compact.ts";
import { concurrencyStories } from "./concurrency.ts";
import { kubernetesStories } from "./kubernetes.ts";
import { leaseStories } from "./lease.ts";
import { maintenanceStories } from "./maintenance.ts";
import { odditiesStories } from "./oddities.ts";
import { otherStories } from "./other.ts";
import { putDeleteStories } from "./put-delete.ts";
import { rangeStories } from "./range.ts";
import { txnStories } from "./txn.ts";
import { watchStories } from "./watch.ts";

/** Every compatibility story, by the name of the file in test/recorded that holds real etcd's answers to it. */
export const allStories: Readonly<Record<string, readonly Story[]>> = {
  range: rangeStories,
  "put-delete": putDeleteStories,
  txn: txnStories,
  compact: compactStories,
  watch: watchStories,
  lease: leaseStories,
  auth: authStories,
  "auth-access": authAccessStories,
  maintenance: maintenanceStories,
  cluster: clusterStories,
  concurrency: concurrencyStories,
  kubernetes: kubernetesStories,
  oddities: odditiesStories,
  other: otherStories,
};
