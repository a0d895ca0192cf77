/**
 * The samples of a scrape, by their names with labels as they are written: `tartan_leases{state="used"}`.
 * @throws Error if one is there twice, which Prometheus drops
 */
export function samplesIn(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const end = line.lastIndexOf(" ");
    const name = line.slice(0, end);
    if (samples.has(name)) throw new Error(`${name} is there twice`);
    samples.set(name, Number(line.slice(end + 1)));
  }
  return samples;
}

/** The names of the metrics that a scrape tells of, with or without samples. */
export function namesIn(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name);
}
