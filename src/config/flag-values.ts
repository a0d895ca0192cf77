import * as v from "valibot";
import { Secret } from "../base/secret.ts";
import { type Address, familyOf, parseAddress } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { EndpointsSchema } from "./etcd-endpoints.ts";
import { parseGoBool, parseGoInt } from "./go-values.ts";
import { compileInterfaceRegex } from "./iface-regex.ts";
import { type ListenAddress, parseHost, parseListenAddress } from "./listen-address.ts";
import { parsed, show } from "./schema.ts";

/** A kind of flag value: how it is shown and how its text is read. The schema's messages go on after the flag's name. */
export interface FlagType<T> {
  /** for the help: `int`, `PATH`, … */
  readonly label: string;
  /** an empty text counts as "not given", as it does in flanneld and in its environment variables */
  readonly mayBeEmpty: boolean;
  /** the text that a flag without `=value` stands for; undefined where it must have one */
  readonly bare?: string;
  readonly schema: v.GenericSchema<string, T>;
}

export const BOOL: FlagType<boolean> = {
  label: "bool",
  mayBeEmpty: false,
  bare: "true",
  schema: parsed(parseGoBool, "true or false"),
};

/** An integer in Go's notation from `min` to `max`, both included. */
export function int(min: number, max: number): FlagType<number> {
  const parse = (text: string) => {
    const value = parseGoInt(text);
    return value === undefined || value < min || value > max ? undefined : Number(value);
  };
  return { label: "int", mayBeEmpty: false, schema: parsed(parse, `an integer from ${min} to ${max}`) };
}

/** Any text; `label` says what it stands for. */
export function text(label: string): FlagType<string> {
  return { label, mayBeEmpty: true, schema: v.string() };
}

export const SECRET: FlagType<Secret> = {
  label: "PASSWORD",
  mayBeEmpty: true,
  schema: v.pipe(
    v.string(),
    v.transform((given) => new Secret(given)),
  ),
};

export const ENDPOINTS: FlagType<readonly string[]> = { label: "URL,…", mayBeEmpty: true, schema: EndpointsSchema };

export const PATH: FlagType<string> = {
  label: "PATH",
  mayBeEmpty: true,
  schema: parsed((path) => (path.includes("\0") ? undefined : path), "a path without a zero character"),
};

/** The runtime reads no other file as a list of plugins. */
export const CONFLIST: FlagType<string> = {
  label: "PATH",
  mayBeEmpty: true,
  schema: parsed(
    (path) => (/^[^\0]+\.conflist$/.test(path) ? path : undefined),
    "a path that ends in .conflist, such as /etc/cni/net.d/10-flannel.conflist",
  ),
};

export const ANY_ADDRESS: FlagType<Address> = {
  label: "IP",
  mayBeEmpty: true,
  schema: parsed(parseAddress, "an IP address"),
};

export function address(family: Family): FlagType<Address> {
  const parse = (text: string) => {
    const value = parseAddress(text);
    return value !== undefined && familyOf(value) === family ? value : undefined;
  };
  return { label: `IPv${family}`, mayBeEmpty: true, schema: parsed(parse, `an IPv${family} address`) };
}

export const HOST: FlagType<string> = {
  label: "IP",
  mayBeEmpty: true,
  schema: parsed(parseHost, "an IP address or a host name"),
};

export function oneOf<const T extends string>(...values: readonly T[]): FlagType<T> {
  const allowed = values.join(" or ");
  const parse = (text: string) => values.find((value) => value === text);
  return { label: values.join("|"), mayBeEmpty: true, schema: parsed(parse, allowed) };
}

export const LISTEN: FlagType<ListenAddress | "off"> = {
  label: "ADDR",
  mayBeEmpty: true,
  schema: parsed(
    (text) => (text === "off" ? "off" : parseListenAddress(text)),
    "HOST:PORT, [IPv6]:PORT, unix:/PATH or off (a port is 0 to 65535)",
  ),
};

/** The path of a unix socket, or `off`. */
export const SOCKET: FlagType<string> = {
  label: "PATH|off",
  mayBeEmpty: true,
  schema: parsed(
    (text) => (text === "off" || parseListenAddress(`unix:${text}`) !== undefined ? text : undefined),
    "an absolute path of at most 107 bytes or off",
  ),
};

/** The pattern's text, after a trial compilation. */
export const REGEX: FlagType<string> = {
  label: "REGEX",
  mayBeEmpty: true,
  schema: v.pipe(
    v.string(),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      try {
        compileInterfaceRegex(dataset.value);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        addIssue({ message: `must be a regular expression, not ${show(dataset.value)}: ${why}` });
      }
    }),
  ),
};
