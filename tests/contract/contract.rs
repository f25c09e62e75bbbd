//! The list of tests of one model.

/// Writes the tests of one model: its name, a configuration for [`layout`], and optionally which names are read by
/// others although one domain or task owns them.
macro_rules! contract {
    ($name:ident, $config:expr) => {
        contract!($name, $config, |_| false);
    };
    ($name:ident, $config:expr, $read_by_others:expr) => {
        mod $name {
            use super::*;

            fn model() -> starple::Model {
                starple::Model::new($config)
            }

            #[test]
            fn shapes() {
                promises::shapes(&model());
            }

            #[test]
            fn the_same_seed_gives_the_same_bits() {
                promises::same_seed_same_bits(model);
            }

            #[test]
            fn forward_is_forward_with() {
                promises::forward_is_forward_with(model());
            }

            #[test]
            fn a_batch_of_n_is_n_batches_of_one() {
                promises::rows_are_independent(model());
            }

            #[test]
            fn permuting_or_splitting_a_batch_changes_no_prediction() {
                promises::order_does_not_matter(model());
            }

            #[test]
            fn a_mixed_batch_is_its_domains_one_by_one() {
                promises::mixed_is_domain_by_domain(model());
            }

            #[test]
            fn predict_is_evaluate() {
                promises::predict_is_evaluate(model());
            }

            #[test]
            fn absent_domains_stay_bit_for_bit_optimizer_state_too() {
                promises::absent_domains_stay(model(), $read_by_others);
            }

            #[test]
            fn a_task_without_labels_stays_bit_for_bit_where_it_owns_alone() {
                promises::silent_tasks_stay(model(), $read_by_others);
            }

            #[test]
            fn every_parameter_gets_a_gradient_in_some_batch() {
                promises::everything_learns(model());
            }

            #[test]
            fn no_two_weights_start_alike() {
                promises::no_two_start_alike(&model());
            }

            #[test]
            fn names_are_unique_and_slots_follow_the_walk() {
                promises::names_are_unique(&model());
            }

            #[test]
            fn a_warm_training_step_allocates_nothing_of_ours() {
                promises::warm_steps_allocate_nothing(model());
            }

            #[test]
            fn backward_may_follow_a_forward_pass_any_number_of_times() {
                promises::backward_repeats(model());
            }

            #[test]
            fn finite_in_finite_out() {
                promises::finite_in_finite_out(model());
            }

            #[test]
            fn a_new_domain_changes_nobodys_score() {
                promises::new_domains_change_nobody(model());
            }

            #[test]
            fn new_rows_and_domains_change_nobodys_score() {
                growth::changes_nobody(model());
            }

            #[test]
            fn what_is_frozen_stays_bit_for_bit_and_the_rest_steps_as_ever() {
                growth::frozen_stays(&model());
            }

            #[test]
            fn rows_of_no_known_domain_have_a_score_that_depends_on_no_neighbour() {
                promises::unknown_domains_score(model());
            }

            #[test]
            fn its_scorer_scores_alike_and_a_warm_request_allocates_nothing_of_ours() {
                promises::scorer_scores_alike(model());
            }

            #[test]
            #[should_panic(expected = "training rows have a domain")]
            fn rows_of_no_known_domain_are_not_trained_on() {
                promises::unknown_domains_do_not_train(&model());
            }

            #[test]
            #[should_panic(expected = "column \"numeric\": expected [8, 2], found [9, 2]")]
            fn a_batch_that_lacks_domains_is_refused() {
                promises::torn_batches_are_refused(&model());
            }

            #[test]
            fn a_batch_of_one_row_trains() {
                promises::one_row_trains(model());
            }

            #[test]
            fn the_configuration_goes_through_a_file() {
                promises::config_round_trip(&model());
            }

            #[test]
            fn a_net_says_its_size_before_it_is_made() {
                promises::says_its_size(model());
            }

            #[test]
            fn a_model_file_gives_it_back_bit_for_bit() {
                promises::file_round_trip(model());
            }

            #[test]
            fn it_is_send_and_sync() {
                promises::send_and_sync();
            }
        }
    };
}
