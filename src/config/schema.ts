import * as v from "valibot";

/** A value of someone else's in a message: short, on one line. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

/** A message that goes on after the field's or the flag's name: `must be true or false, not "yes"`. */
export function mustBe(allowed: string): (issue: v.BaseIssue<unknown>) => string {
  return (issue) => `must be ${allowed}, not ${show(issue.input)}`;
}

/** A schema of a text from a function that answers undefined for what it does not take. */
export function parsed<T>(parse: (text: string) => T | undefined, allowed: string): v.GenericSchema<string, T> {
  return v.pipe(
    v.string(mustBe(allowed)),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: mustBe(allowed) });
      return NEVER;
    }),
  );
}
