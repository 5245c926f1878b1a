/** Puts another method in the place of one, for the time of a run; what is returned puts it back. */
export function patch<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): () => void {
  const original = Object.getOwnPropertyDescriptor(target, name)!;
  Object.defineProperty(target, name, { ...original, value: make(original.value as T[K]) });
  return () => void Object.defineProperty(target, name, original);
}

export function patchGetter<T extends object, K extends keyof T>(
  target: T,
  name: K,
  change: (value: T[K]) => T[K],
): () => void {
  const original = Object.getOwnPropertyDescriptor(target, name)!;
  const get = original.get!;
  Object.defineProperty(target, name, {
    ...original,
    get(this: T) {
      return change(get.call(this) as T[K]);
    },
  });
  return () => void Object.defineProperty(target, name, original);
}

export const all =
  (...mends: (() => void)[]) =>
  () => {
    for (const mend of mends) mend();
  };
