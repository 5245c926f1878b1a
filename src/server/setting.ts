import type { Kind } from "./setting-kinds.ts";

/** One setting of `t4 run`. */
export interface Setting<T> {
  readonly kind: Kind<T>;
  /** As text, read by `kind`; undefined: not set. */
  readonly byDefault: string | undefined;
  /** A flag of etcd's, with its name, meaning and ETCD_ variable; else one of ours, with a T4_ variable. */
  readonly etcd: boolean;
  readonly help: string;
}

export type Declared<T, D> = Setting<T> & { readonly byDefault: D };

export const etcd = <T, D extends string | undefined>(kind: Kind<T>, byDefault: D, help: string): Declared<T, D> => ({
  kind,
  byDefault,
  etcd: true,
  help,
});
export const ours = <T, D extends string | undefined>(kind: Kind<T>, byDefault: D, help: string): Declared<T, D> => ({
  kind,
  byDefault,
  etcd: false,
  help,
});
