import { etcdStorageVersion } from "../../base/version.ts";

/** Of what etcd a snapshot made now would be a store of; `downgradeTarget` null: no downgrade. */
export const storageVersionOf = (downgradeTarget: string | null): string => downgradeTarget ?? etcdStorageVersion;
