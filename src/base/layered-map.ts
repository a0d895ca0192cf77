/** Changes to one map: what is undefined goes. */
export type MapChanges<K, V> = ReadonlyMap<K, V | undefined>;

/** With more changes than this a copy is made: looking through layers must not become the rule. */
const MOST_CHANGES = 512;

/**
 * A map that stays as it is, from which another one with a few changes can be made without copying the rest. Its order is
 * that of the first map, with what was changed or added behind.
 */
export class LayeredMap<K, V> implements ReadonlyMap<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  readonly #changes: MapChanges<K, V>;
  readonly size: number;

  private constructor(base: ReadonlyMap<K, V>, changes: MapChanges<K, V>, size: number) {
    this.#base = base;
    this.#changes = changes;
    this.size = size;
  }

  /** @param base must not be changed any more */
  static of<K, V>(base: ReadonlyMap<K, V>): LayeredMap<K, V> {
    return base instanceof LayeredMap ? base : new LayeredMap(base, new Map(), base.size);
  }

  with(changes: MapChanges<K, V>): LayeredMap<K, V> {
    let { size } = this;
    for (const [key, value] of changes) size += Number(value !== undefined) - Number(this.has(key));
    const layered = new LayeredMap(this.#base, new Map([...this.#changes, ...changes]), size);
    return layered.#changes.size <= MOST_CHANGES ? layered : LayeredMap.of(new Map(layered));
  }

  get(key: K): V | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key);
  }

  has(key: K): boolean {
    return this.#changes.has(key) ? this.#changes.get(key) !== undefined : this.#base.has(key);
  }

  *entries(): MapIterator<[K, V]> {
    for (const entry of this.#base) if (!this.#changes.has(entry[0])) yield entry;
    for (const [key, value] of this.#changes) if (value !== undefined) yield [key, value];
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(use: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) use(value, key, this);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
}
