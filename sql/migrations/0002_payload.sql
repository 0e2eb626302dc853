-- Reading and changing one member of a payload while every other keeps its text byte for byte.
--
-- A payload is stored as json: its text is what the application sent. Postgres can read such a text only as long as no
-- escape in it stands for U+0000 or half a surrogate pair: `->>` and json_each raise an error over one, wherever in the
-- text it stands, and jsonb cannot hold it. So the text is *masked* first: DEL and a digit stand for each backslash
-- sequence, so that no escape is left to be decoded, and the members' texts are unmasked one by one. (DEL is masked
-- too, so each DEL of a masked text has its digit behind it, and unmasking in the opposite order is exact.)
--
-- The first two functions are evaluated by an index on the job table, as whoever adds a job: everybody may execute
-- them, they name everything by its schema, operators too, and use nothing of schema slayq, which only its owner may
-- look into. Strings with a backslash are E'' ones, whose meaning no setting of a caller's changes.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The member of a payload: the last one with that name, as JavaScript has it. Null when there is none or the payload is
-- no object, and when it nests too deep to be read, which no deliverable one does.
CREATE FUNCTION slayq._private_member(payload json, name text) RETURNS json
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  masked_member pg_catalog.record;
  member_name pg_catalog.text;
  member_text pg_catalog.text;
BEGIN
  -- An exception handler costs a subtransaction. It is saved where nothing can go wrong: no escape that might not be
  -- decodable, and not enough text to nest deeper than the parser's stack bears.
  IF pg_catalog.strpos(payload::pg_catalog.text, E'\\u') OPERATOR(pg_catalog.=) 0
     AND pg_catalog.octet_length(payload::pg_catalog.text) OPERATOR(pg_catalog.<) 4000 THEN
    RETURN payload OPERATOR(pg_catalog.->) name;
  END IF;
  BEGIN
    RETURN payload OPERATOR(pg_catalog.->) name;
  EXCEPTION
    WHEN untranslatable_character OR invalid_text_representation THEN NULL;
    WHEN statement_too_complex THEN RETURN NULL;
  END;
  IF pg_catalog.json_typeof(payload) OPERATOR(pg_catalog.<>) 'object' THEN
    RETURN NULL;
  END IF;
  FOR masked_member IN
    SELECT member.key, member.value::pg_catalog.text AS value
      FROM pg_catalog.json_each(
             pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(payload::pg_catalog.text,
               E'\x7f', E'\x7f0'), E'\\\\', E'\x7f1'), E'\\"', E'\x7f2'), E'\\', E'\x7f3')::pg_catalog.json) AS member
  LOOP
    member_name := masked_member.key;
    IF pg_catalog.strpos(member_name, E'\x7f') OPERATOR(pg_catalog.>) 0 THEN
      BEGIN
        member_name := pg_catalog.concat('"',
          pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(member_name,
            E'\x7f3', E'\\'), E'\x7f2', E'\\"'), E'\x7f1', E'\\\\'), E'\x7f0', E'\x7f'),
          '"')::pg_catalog.json OPERATOR(pg_catalog.#>>) '{}';
      EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
        member_name := NULL;
      END;
    END IF;
    IF member_name OPERATOR(pg_catalog.=) name THEN
      member_text := masked_member.value;
    END IF;
  END LOOP;
  RETURN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(member_text,
           E'\x7f3', E'\\'), E'\x7f2', E'\\"'), E'\x7f1', E'\\\\'), E'\x7f0', E'\x7f')::pg_catalog.json;
EXCEPTION WHEN statement_too_complex THEN
  RETURN NULL;
END
$$;

-- A member as `->>` gives it: the characters of a string, the text of anything else, null for JSON null. Null, too, for
-- what holds U+0000 or half a surrogate pair, so that it equals nothing.
CREATE FUNCTION slayq._private_text(member json) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  IF pg_catalog.strpos(member::pg_catalog.text, E'\\u') OPERATOR(pg_catalog.=) 0
     AND pg_catalog.octet_length(member::pg_catalog.text) OPERATOR(pg_catalog.<) 4000 THEN
    RETURN member OPERATOR(pg_catalog.#>>) '{}';
  END IF;
  BEGIN
    RETURN member OPERATOR(pg_catalog.#>>) '{}';
  EXCEPTION WHEN untranslatable_character OR invalid_text_representation OR statement_too_complex THEN
    RETURN NULL;
  END;
END
$$;

CREATE FUNCTION slayq._private_masked(plain json) RETURNS json
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(plain::pg_catalog.text,
           E'\x7f', E'\x7f0'), E'\\\\', E'\x7f1'), E'\\"', E'\x7f2'), E'\\', E'\x7f3')::pg_catalog.json
$$;

CREATE FUNCTION slayq._private_unmasked(masked text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(masked,
           E'\x7f3', E'\\'), E'\x7f2', E'\\"'), E'\x7f1', E'\\\\'), E'\x7f0', E'\x7f')
$$;

-- An object with the member set: in the place of the last one with that name, else at the end. White space between
-- members goes; names and values keep their text.
CREATE FUNCTION slayq._private_put(object json, name text, value json) RETURNS json
LANGUAGE sql IMMUTABLE STRICT AS $$
  WITH parts AS (
    SELECT member.place,
           pg_catalog.concat('"', slayq._private_unmasked(member.key), '"') AS name,
           slayq._private_unmasked(member.value::pg_catalog.text) AS value
      FROM pg_catalog.json_each(slayq._private_masked(object)) WITH ORDINALITY AS member (key, value, place)
  ), target AS (
    SELECT pg_catalog.max(parts.place) AS place
      FROM parts
     WHERE slayq._private_text(parts.name::pg_catalog.json) = $2
  ), pairs AS (
    SELECT parts.place, pg_catalog.concat(parts.name, ':', CASE WHEN parts.place = target.place
                                                                THEN $3::pg_catalog.text ELSE parts.value END) AS pair
      FROM parts CROSS JOIN target
     UNION ALL
    SELECT NULL, pg_catalog.concat(pg_catalog.to_json($2), ':', $3)
      FROM target
     WHERE target.place IS NULL
  )
  SELECT pg_catalog.concat('{', pg_catalog.string_agg(pairs.pair, ',' ORDER BY pairs.place), '}')::pg_catalog.json
    FROM pairs
$$;

-- A payload whose step cache holds the result of a step. Any text names a step; a null name is what JavaScript makes
-- of it as a member name, and a null result is JSON null. A payload that cannot be delivered anyway, because it is no
-- object or nests too deep, stays as it is.
CREATE FUNCTION slayq._private_with_step(payload json, step_name text, result json) RETURNS json
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  cache pg_catalog.json := slayq._private_member(payload, 'cache');
BEGIN
  IF pg_catalog.json_typeof(payload) IS DISTINCT FROM 'object' THEN
    RETURN payload;
  END IF;
  IF pg_catalog.json_typeof(cache) IS DISTINCT FROM 'object' THEN
    cache := '{}';
  END IF;
  RETURN slayq._private_put(payload, 'cache',
           slayq._private_put(cache, coalesce(step_name, 'null'), coalesce(result, 'null')));
EXCEPTION WHEN statement_too_complex THEN
  RETURN payload;
END
$$;

-- What a trigger and a wait on the same event have in common: the key of their advisory lock and of their look-ups.
-- Null when a part is null: that matches nothing.
CREATE FUNCTION slayq._private_triple(event text, match_key text, match_value text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT pg_catalog.hashtextextended(event || E'\x1f' || match_key || E'\x1f' || match_value, 1)
$$;

-- The same for a target's key and the invocations that wait for it.
CREATE FUNCTION slayq._private_target(job_key text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT pg_catalog.hashtextextended(job_key, 2)
$$;
