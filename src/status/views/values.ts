import type { FamilyName } from "../../api/values.ts";
import { type Family, familiesOf, type PerFamily } from "../../net/family.ts";

/** How the API writes values: names in lowerCamelCase, times in RFC 3339, durations in milliseconds. */

export function familyName(family: Family): FamilyName {
  return family === 4 ? "ipv4" : "ipv6";
}

export function time(value: number): string;
export function time(value: number | undefined): string | null;
export function time(value: number | undefined): string | null {
  return value === undefined ? null : new Date(value).toISOString();
}

export function familyNamed(name: FamilyName): Family {
  return name === "ipv4" ? 4 : 6;
}

/** Milliseconds, down to the microsecond: what follows says nothing. */
export function duration(milliseconds: number): number;
export function duration(milliseconds: number | undefined): number | null;
export function duration(milliseconds: number | undefined): number | null {
  return milliseconds === undefined ? null : Math.round(milliseconds * 1000) / 1000;
}

export function onOff(value: boolean | undefined): "on" | "off" | null {
  if (value === undefined) return null;
  return value ? "on" : "off";
}

export function byFamilyName<T, U>(
  values: PerFamily<T>,
  view: (value: T, family: Family) => U,
): { [Name in FamilyName]?: U } {
  const out: { [Name in FamilyName]?: U } = {};
  for (const family of familiesOf(values)) {
    const value = values[family];
    if (value !== undefined) out[familyName(family)] = view(value, family);
  }
  return out;
}
