-- Reading and changing one member of a payload while every other keeps its text byte for byte.
--
-- A payload is stored as json: its text is what the application sent. Postgres can read such a text only as long as no
-- escape in it stands for U+0000 or half a surrogate pair: `->>` and json_each raise an error over one, wherever in the
-- text it stands, and jsonb cannot hold it. So the text is *masked* first: DEL and a digit stand for each backslash
-- sequence, so that no escape is left to be decoded, and the members' texts are unmasked one by one. (Every DEL of the
-- masked text has its digit behind it, DEL itself is masked too, so unmasking in the opposite order is exact.)
--
-- The first two functions are evaluated by an index on the job table, as whoever adds a job: everybody may execute
-- them, they name everything by its schema, and use nothing of schema slayq, which only its owner may look into.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The member of a payload, its last one with that name; null when there is none or the payload is no object.
CREATE FUNCTION slayq._private_member(payload pg_catalog.json, name pg_catalog.text) RETURNS pg_catalog.json
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  member pg_catalog.record;
  member_name pg_catalog.text;
  found_text pg_catalog.text;
BEGIN
  -- The subtransaction of an exception handler is saved where nothing can go wrong: no escape that might not be
  -- decodable, and not enough text to nest deeper than the parser's stack bears.
  IF pg_catalog.strpos(payload::pg_catalog.text, '\u') OPERATOR(pg_catalog.=) 0
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
  FOR member IN
    SELECT masked.key, masked.value
      FROM pg_catalog.json_each(
             pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
               payload::pg_catalog.text,
               E'\x7f', E'\x7f0'), '\\', E'\x7f1'), '\"', E'\x7f2'), '\', E'\x7f3')::pg_catalog.json) AS masked
  LOOP
    IF pg_catalog.strpos(member.key, E'\x7f') OPERATOR(pg_catalog.=) 0 THEN
      member_name := member.key;
    ELSE
      BEGIN
        member_name := pg_catalog.concat('"',
          pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            member.key, E'\x7f3', '\'), E'\x7f2', '\"'), E'\x7f1', '\\'), E'\x7f0', E'\x7f'),
          '"')::pg_catalog.json OPERATOR(pg_catalog.#>>) '{}';
      EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
        member_name := NULL;
      END;
    END IF;
    IF member_name OPERATOR(pg_catalog.=) name THEN
      found_text := member.value::pg_catalog.text;
    END IF;
  END LOOP;
  RETURN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
           found_text, E'\x7f3', '\'), E'\x7f2', '\"'), E'\x7f1', '\\'), E'\x7f0', E'\x7f')::pg_catalog.json;
END
$$;

-- A member as `->>` gives it: the characters of a string, the text of anything else, null for JSON null. Null, too, for
-- what holds U+0000 or half a surrogate pair, so that it equals nothing.
CREATE FUNCTION slayq._private_text(member pg_catalog.json) RETURNS pg_catalog.text
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  IF pg_catalog.strpos(member::pg_catalog.text, '\u') OPERATOR(pg_catalog.=) 0
     AND pg_catalog.octet_length(member::pg_catalog.text) OPERATOR(pg_catalog.<) 4000 THEN
    RETURN member OPERATOR(pg_catalog.#>>) '{}';
  END IF;
  RETURN member OPERATOR(pg_catalog.#>>) '{}';
EXCEPTION WHEN untranslatable_character OR invalid_text_representation OR statement_too_complex THEN
  RETURN NULL;
END
$$;
