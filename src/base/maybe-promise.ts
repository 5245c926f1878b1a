/** A value when the answer is at hand, else a promise of it: the hot path makes no promise. */
export type MaybePromise<T> = T | Promise<T>;

export const isPromise = <T>(value: MaybePromise<T>): value is Promise<T> => value instanceof Promise;
